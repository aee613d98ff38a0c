"""A server of the tests, in a process of its own: port, folder of certificates, version, engine."""

import sys
from pathlib import Path

import napari_prelabel
from napari_prelabel.worker import serve, versions

if __name__ == "__main__":
    port, tls, version, engine, workers = sys.argv[1:]
    versions.__version__ = version or napari_prelabel.__version__
    serve.serve(
        Path(tls), f"127.0.0.1:{port}", int(workers), engine=engine,
        told=lambda address: print(address, flush=True),
    )  # fmt: skip

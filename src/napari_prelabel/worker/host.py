"""The process beside napari's that starts the worker and guards it.

Started by `local.py` with `python -m`, never by multiprocessing, which would run a person's
unguarded script again and open a second window. It writes one line, where its scheduler listens
and with which certificate, and ends as soon as its stdin closes.
"""

import argparse
import asyncio
import contextlib
import json
import logging
import os
import shutil
import sys
import threading
import time
from pathlib import Path
from typing import TextIO

import psutil


def claim_stdout() -> TextIO:
    """Keep stdout for our line; prints of libraries go to stderr from now on."""
    ours = os.dup(1)
    os.dup2(2, 1)
    return os.fdopen(ours, "w")


def _watch_stdin(folder: Path) -> None:
    with contextlib.suppress(OSError):
        while os.read(0, 4096):
            pass
    end(folder)


def _watch_parent(folder: Path) -> None:
    """A fork of napari's process may hold our stdin open after napari's death."""
    parent = os.getppid()
    while os.getppid() == parent:
        time.sleep(1)
    end(folder)


def end(folder: Path) -> None:
    """Leave at once and take every child along; nothing here is worth waiting for."""
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            child.kill()
    shutil.rmtree(folder, ignore_errors=True)
    os._exit(0)


async def _serve(options: argparse.Namespace, out: TextIO) -> None:
    from .cluster import Crew, cluster
    from .credentials import Credentials

    made = Credentials.new()
    crew = Crew(options.engine, options.folder, json.loads(options.arguments))
    async with cluster(crew, made) as address:
        with out:
            line = {"address": address, "certificate": made.certificate, "key": made.key}
            out.write(json.dumps(line) + "\n")
        await asyncio.Event().wait()


def main() -> None:
    """Entry point of the process; arguments come from local.py alone."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--engine", required=True)
    parser.add_argument("--arguments", required=True)
    options = parser.parse_args()
    out = claim_stdout()
    threading.Thread(target=_watch_stdin, args=(options.folder,), daemon=True).start()
    if os.name == "posix":
        threading.Thread(target=_watch_parent, args=(options.folder,), daemon=True).start()
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING)
    asyncio.run(_serve(options, out))


if __name__ == "__main__":
    main()

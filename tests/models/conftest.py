"""A model hub on loopback."""

import http.server
import threading

import pytest
from hub import Handler, Hub


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """The hub that HF_ENDPOINT names, for a person without models."""
    made = Hub()
    handler = type("Answers", (Handler,), {"hub": made})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    made.url = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setenv("HF_ENDPOINT", made.url + "/")
    monkeypatch.setenv("PRELABEL_MODELS", str(tmp_path))
    yield made
    server.shutdown()
    server.server_close()
    thread.join()

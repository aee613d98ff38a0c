"""`prelabel serve`, and `prelabel run` on what it serves: real processes, the demo models."""

import os
import signal
import subprocess
import sys

import pytest
from PIL import Image
from typer.testing import CliRunner

from napari_prelabel import cli
from napari_prelabel.values.errors import JobError
from napari_prelabel.values.samples import sample_path

PRELABEL = [sys.executable, "-c", "from napari_prelabel.cli import app; app()"]


@pytest.mark.skipif(os.name != "posix", reason="ends by a signal")
def test_what_is_served_is_used_by_run(tmp_path):
    tls, out = tmp_path / "tls", tmp_path / "out"
    picture = sample_path("scenes", "images", "scene-18.png")
    serve = [*PRELABEL, "serve", "--tls", str(tls), "--address", "127.0.0.1:0", "--device", "cpu"]
    with subprocess.Popen(serve, stdout=subprocess.PIPE, text=True) as server:
        line = server.stdout.readline()
        address = line.split()[2]
        assert line.startswith("Serving at tls://127.0.0.1:")
        command = ["run", str(picture), "--classes", "sky, sea, grass", "--method", "base",
                   "--out", str(out), "--worker", address, "--tls", str(tls)]  # fmt: skip
        result = CliRunner().invoke(cli.app, command)
        server.send_signal(signal.SIGTERM)
        assert server.wait(30) == 0
    assert result.exit_code == 0, result.output
    with Image.open(picture) as image, Image.open(out / "scene-18.png") as labels:
        assert labels.size == image.size


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (("cpu", None, "folder"), "--tls goes with --worker"),
        (("cpu", "tls://gpu", None), "--device is the server's"),
    ],
)
def test_options_that_do_not_go_together(given, sentence):
    with pytest.raises(JobError, match=sentence), cli.screen.engine_of(*given):
        pass

"""`prelabel reference caption` writes what `build --captions` reads."""

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from napari_prelabel.cli import app
from napari_prelabel.models import captioner
from napari_prelabel.reference.captions import read_captions


class Told:
    def caption(self, image):
        return f"a picture of {image.shape[1]} x {image.shape[0]} pixels, naïve"


@pytest.fixture
def photos(tmp_path, monkeypatch):
    monkeypatch.setattr(captioner, "load_captioner", lambda *_: Told())
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in ("a", "b"):
        Image.fromarray(np.zeros((4, 6, 3), np.uint8)).save(folder / f"{name}.png")
    return folder


def test_captions_are_read_back_and_not_written_over(photos, tmp_path):
    out = tmp_path / "captions.jsonl"
    arguments = ["reference", "caption", str(photos), "--out", str(out)]
    assert CliRunner().invoke(app, arguments).exit_code == 0
    read = read_captions(out, photos)
    assert read.faults == ()
    assert [c.captions for c in read.images] == [("a picture of 6 x 4 pixels, naïve",)] * 2
    assert CliRunner().invoke(app, arguments).exit_code == 2
    assert CliRunner().invoke(app, [*arguments, "--overwrite"]).exit_code == 0

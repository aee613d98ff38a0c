"""A format is one file and one row: a toy that src does not name works on every way."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from toy_format import TOY, ToyOptions

from napari_prelabel.formats import (
    FORMATS,
    Options,
    export,
    format_of,
    ours,
    own_options,
    suffixes,
    target,
)
from napari_prelabel.formats.folder import claim_of_file, export_one
from napari_prelabel.values.errors import FileFormatError, JobError
from napari_prelabel.values.labels import HUMAN

TESTS = Path(__file__).parents[1]
RUN = """
import sys
from brightness import Brightness
from toy_format import TOY
from napari_prelabel.formats import FORMATS
FORMATS["toy"] = TOY
from napari_prelabel import cli
from napari_prelabel.models import catalog
cli.screen.engine = lambda _: Brightness()
catalog.installed = lambda name: name == "demo-clip"
cli.app(sys.argv[1:])
"""


@pytest.fixture
def toy(monkeypatch):
    monkeypatch.setitem(FORMATS, "toy", TOY)


def prelabel(*arguments):
    """The command line in a process that knows the toy before it parses anything."""
    path = os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {"PYTHONPATH": path, "COLUMNS": "200"}
    command = [sys.executable, "-c", RUN, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


@pytest.mark.usefixtures("toy")
def test_it_goes_into_a_folder_and_comes_back_with_whose_its_pixels_are(image, tmp_path):
    owners = np.full(image.ids.shape, HUMAN, np.uint8)
    owners[0] = 0
    object.__setattr__(image, "provenance", owners)
    path = tmp_path / "img.jpg"
    path.write_bytes(b"an image")
    receipt = export_one(image, claim_of_file(path), tmp_path / "out", "toy", Options())
    written = tmp_path / "out" / "img.toy"
    assert receipt.exact
    assert [p.name for p in receipt.paths] == ["img.toy", "img.toy.prov"]
    assert ours(written) is format_of(written) is TOY
    (back,) = FORMATS["toy"].read(written, None)
    np.testing.assert_array_equal(back.ids, image.ids)
    np.testing.assert_array_equal(back.provenance, owners)
    with pytest.raises(FileFormatError, match=r"img\.toy exists already"):
        export_one(image, claim_of_file(path), tmp_path / "out", "toy", Options())


@pytest.mark.usefixtures("toy")
def test_its_options_and_suffix_are_known_wherever_they_are_asked_for(image, tmp_path):
    assert suffixes()[-1] == ".toy"
    assert own_options("toy", {"spaces": "0"}) == ToyOptions(0)
    assert own_options("png", {"spaces": "0"}) is None
    with pytest.raises(JobError, match="spaces must lie between 0 and 8, not 9"):
        own_options("png", {"spaces": "9"})
    export([image], tmp_path, "toy", Options(own=ToyOptions(0)))
    assert '\n"format"' in target(tmp_path, "toy", "img").read_text(encoding="utf-8")
    assert "Pixels may be lost" in TOY.says
    assert TOY.numbers(tmp_path / "img.toy").shape == image.ids.shape


def test_the_command_line_offers_it_and_writes_it(tmp_path):
    told = prelabel("run", "--help")
    assert told.returncode == 0
    assert "png, tiff, coco, toy" in told.stdout
    assert "Options of --format toy" in told.stdout
    assert "Before each line of the toy." in told.stdout
    Image.fromarray(np.zeros((6, 7, 3), np.uint8)).save(tmp_path / "a.png")
    given = ("run", tmp_path / "a.png", "--classes", "dark", "--out", tmp_path / "out")
    done = prelabel(*given, "--format", "toy", "--spaces", "1")
    assert done.returncode == 0, done.stderr
    assert "every pixel is as on the screen" in done.stdout
    assert '\n "format"' in (tmp_path / "out" / "a.toy").read_text(encoding="utf-8")
    again = prelabel(*given, "--format", "toy")
    assert "are kept" in again.stdout
    other = prelabel(*given, "--spaces", "1")
    assert "note: --spaces is of toy: png has no such." in other.stdout
    assert prelabel(*given, "--format", "toy", "--spaces", "x").returncode == 2


@pytest.mark.parametrize("name", [f.name for f in FORMATS.values() if f.lossless])
def test_what_keeps_every_pixel_does(name, vocabulary, tmp_path):
    from napari_prelabel.formats import LabelImage

    for seed in range(5):
        rng = np.random.default_rng(seed)
        ids = rng.choice(np.array([0, 1, 2, 3, 65535], np.uint16), (rng.integers(1, 40), 23))
        assert export([LabelImage(ids, vocabulary, f"n{seed}")], tmp_path, name).exact

"""Which files are ours, told from their first bytes."""

import json

import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_prelabel.formats import FORMATS, LabelImage, export, target
from napari_prelabel.formats.png import table_path
from napari_prelabel.values.vocabulary import Class, Vocabulary


def recognised(path):
    return [name for name, chosen in FORMATS.items() if chosen.recognises(path)]


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("classes", [3, 2000])
def test_our_files_are_known_without_decoding_them(name, classes, tmp_path, monkeypatch):
    vocabulary = Vocabulary(tuple(Class(i, f"class {i}") for i in range(1, classes + 1)))
    image = LabelImage(np.ones((300, 400), np.uint16), vocabulary, "a", "a.jpg")
    export([image], tmp_path, name)
    for module, decoder in [(json, "loads"), (tifffile, "TiffFile"), (Image, "open")]:
        monkeypatch.setattr(module, decoder, lambda *_: 1 / 0)
    assert recognised(target(tmp_path, name, "a")) == [name]


def test_a_file_of_others_that_we_appended_to_is_ours(vocabulary, tmp_path):
    path = tmp_path / "instances.json"
    categories = [{"id": c.id, "name": c.name} for c in vocabulary.classes]
    theirs = {"info": {}, "images": [], "annotations": [], "categories": categories}
    path.write_text(json.dumps(theirs), encoding="utf-8")
    assert recognised(path) == []
    export([LabelImage(np.ones((3, 4), np.uint16), vocabulary, "a")], tmp_path, "coco")
    assert recognised(path) == ["coco"]


def test_other_files_are_not_ours(image, tmp_path):
    export([image], tmp_path, "png")
    assert recognised(table_path(tmp_path / "img.png")) == []
    Image.new("P", (2, 2)).save(tmp_path / "o.png")
    tifffile.imwrite(tmp_path / "o.tif", np.zeros((4, 4), np.uint16), description="{}")
    (tmp_path / "o.json").write_text('{"prelabel": {"schema": 1}}', encoding="utf-8")
    (tmp_path / "img.txt").write_text("no PNG beside a table", encoding="utf-8")
    (tmp_path / "folder.png").mkdir()
    for other in ("o.png", "o.tif", "o.json", "img.txt", "folder.png", "nowhere.png"):
        assert recognised(tmp_path / other) == []


def test_no_more_than_the_beginning_is_read(image, tmp_path):
    export([image], tmp_path, "coco")
    path = tmp_path / "instances.json"
    path.write_bytes(b" " * 65_000 + path.read_bytes())
    assert recognised(path) == ["coco"]
    path.write_bytes(b" " * 1_000 + path.read_bytes())
    assert recognised(path) == []

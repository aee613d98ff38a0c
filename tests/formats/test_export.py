import pytest

from napari_prelabel.formats import FORMATS, export, target
from napari_prelabel.values.errors import FileFormatError


def test_the_table_of_formats(tmp_path):
    assert list(FORMATS) == ["png", "tiff", "coco"]
    assert all(f.name == name for name, f in FORMATS.items())
    assert target(tmp_path, "png", "a/b.c") == tmp_path / "a" / "b.c.png"
    assert target(tmp_path, "coco", "a") == tmp_path / "instances.json"


def test_unknown_formats_and_names_outside_are_refused(image, tmp_path):
    with pytest.raises(FileFormatError, match="choose one of png, tiff, coco"):
        export([image], tmp_path, "bmp")
    with pytest.raises(FileFormatError, match="outside its own folder"):
        target(tmp_path, "png", "../a")
    with pytest.raises(FileFormatError, match="nothing to export"):
        export([], tmp_path, "png")

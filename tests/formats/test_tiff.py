import json

import numpy as np
import pytest
import tifffile

from napari_prelabel.formats import LabelImage, Options, export, one_image, tiff
from napari_prelabel.formats.tiff import read_tiff, write_tiff
from napari_prelabel.values.errors import FileFormatError


def test_tifffile_reads_ids_table_and_size(image, tmp_path):
    receipt = export([image], tmp_path, "tiff")
    with tifffile.TiffFile(tmp_path / "img.tif") as file:
        page = file.pages[0]
        assert np.array_equal(file.asarray(), image.ids)
        assert page.dtype == np.uint16
        assert json.loads(page.description)["classes"][1]["name"] == "sky"
        assert page.resolutionunit == tifffile.RESUNIT.CENTIMETER
        assert page.get_resolution("MICROMETER") == pytest.approx((4, 2))
    assert receipt.exact


def test_round_trip(image, tmp_path):
    export([image], tmp_path, "tiff")
    (back,) = read_tiff(tmp_path / "img.tif")
    assert np.array_equal(back.ids, image.ids)
    assert back.vocabulary.names == image.vocabulary.names
    assert (back.scale, back.unit, back.source) == ((0.5, 0.25), "µm", "img.jpg")


@pytest.mark.parametrize("shape", [(3, 4, 5), (1, 4, 5), (2, 1, 1, 3), (1, 1), (5, 1)])
def test_stacks_stay_whole(shape, vocabulary, tmp_path):
    ids = (np.arange(np.prod(shape)) % 4).reshape(shape)
    receipt = export([LabelImage(ids, vocabulary, "s")], tmp_path, "tiff")
    assert receipt.images == 1
    assert receipt.exact
    assert np.array_equal(read_tiff(tmp_path / "s.tif")[0].ids, ids)


def test_a_unit_tiff_does_not_know_keeps_its_numbers(vocabulary, tmp_path):
    image = LabelImage(np.ones((2, 2), np.uint16), vocabulary, "s", scale=(2, 4), unit="parsec")
    export([image], tmp_path, "tiff")
    with tifffile.TiffFile(tmp_path / "s.tif") as file:
        assert file.pages[0].resolutionunit == tifffile.RESUNIT.NONE
        assert file.pages[0].resolution == (0.25, 0.5)
    assert read_tiff(tmp_path / "s.tif")[0].scale == (2.0, 4.0)


def test_one_image_a_file(image, tmp_path):
    with pytest.raises(FileFormatError, match="one image or stack"):
        write_tiff([image, image], tmp_path / "x.tif", Options())
    write_tiff([image], tmp_path / "x.tif", Options())
    with pytest.raises(FileFormatError, match="exists already"):
        write_tiff([image], tmp_path / "x.tif", Options())


def test_other_peoples_tiff_needs_a_vocabulary(vocabulary, tmp_path):
    tifffile.imwrite(tmp_path / "o.tif", np.array([[0, 1], [2, 3]], np.int32))
    with pytest.raises(FileFormatError, match="choose the vocabulary"):
        read_tiff(tmp_path / "o.tif")
    assert read_tiff(tmp_path / "o.tif", vocabulary)[0].ids.tolist() == [[0, 1], [2, 3]]


def test_wrong_files_get_one_sentence(image, vocabulary, tmp_path):
    export([image], tmp_path, "tiff")
    whole = (tmp_path / "img.tif").read_bytes()
    for name, data in {"cut": whole[:200], "text": b"hello", "empty": b""}.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(FileFormatError, match="damaged or no TIFF"):
            read_tiff(tmp_path / name, vocabulary)
    with pytest.raises(FileFormatError, match="is not there"):
        read_tiff(tmp_path / "nowhere.tif")
    tifffile.imwrite(tmp_path / "f.tif", np.full((2, 2), 0.5, np.float32))
    with pytest.raises(FileFormatError, match="holds float32"):
        read_tiff(tmp_path / "f.tif", vocabulary)
    tifffile.imwrite(tmp_path / "n.tif", np.full((2, 2), -3, np.int16))
    with pytest.raises(FileFormatError, match="not a map of ids"):
        read_tiff(tmp_path / "n.tif", vocabulary)
    red = np.full((4, 4, 3), (255, 0, 0), np.uint8)
    tifffile.imwrite(tmp_path / "rgb.tif", red, photometric="rgb")
    with pytest.raises(FileFormatError, match="colour picture"):
        read_tiff(tmp_path / "rgb.tif", vocabulary)
    tifffile.imwrite(
        tmp_path / "bad.tif",
        np.zeros((4, 4), np.uint16),
        description="{napari-prelabel labels",
        metadata=None,
    )
    with pytest.raises(FileFormatError, match="no valid JSON"):
        read_tiff(tmp_path / "bad.tif")
    tifffile.imwrite(
        tmp_path / "list.tif",
        np.zeros((4, 4), np.uint16),
        description='{"a": "napari-prelabel labels"}',
        metadata=None,
    )
    with pytest.raises(FileFormatError, match="not a table"):
        read_tiff(tmp_path / "list.tif")


def test_too_many_pixels_are_refused_before_they_are_read(image, tmp_path, monkeypatch):
    export([image], tmp_path, "tiff")
    monkeypatch.setattr(tiff, "MAX_FILE", 203)
    monkeypatch.setattr(tifffile.TiffFile, "asarray", lambda *_: 1 / 0)
    with pytest.raises(FileFormatError, match=r"204 pixels, more than the 203 .*into parts"):
        read_tiff(tmp_path / "img.tif")
    monkeypatch.setattr(one_image, "MAX_FILE", 203)
    with pytest.raises(FileFormatError, match="204 pixels, more than the 203"):
        export([image], tmp_path / "other", "tiff")


def test_other_peoples_pixels_are_not_read_to_find_no_table(tmp_path, monkeypatch):
    tifffile.imwrite(tmp_path / "o.tif", np.zeros((4, 4), np.uint16))
    monkeypatch.setattr(tifffile.TiffFile, "asarray", lambda *_: 1 / 0)
    with pytest.raises(FileFormatError, match="choose the vocabulary"):
        read_tiff(tmp_path / "o.tif")


def test_too_little_memory_is_not_called_damage(image, tmp_path, monkeypatch):
    def no_memory(*_args):
        raise MemoryError

    export([image], tmp_path, "tiff")
    monkeypatch.setattr(tifffile.TiffFile, "asarray", no_memory)
    with pytest.raises(FileFormatError, match="does not fit into memory"):
        read_tiff(tmp_path / "img.tif")

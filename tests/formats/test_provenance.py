"""Who each pixel comes from outlives an export, in every format, or is known to be unknown."""

import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from napari_prelabel.formats import FORMATS, LabelImage, Options, export, ours, target
from napari_prelabel.formats.coco import CocoOptions
from napari_prelabel.formats.folder import claim_of_file, export_one
from napari_prelabel.formats.provenance import beside, digest, word_of
from napari_prelabel.images.find import find_images
from napari_prelabel.values.errors import FileFormatError, ImageError
from napari_prelabel.values.labels import HUMAN, IMPORTED, MODEL, REVIEWED, LabelMap
from napari_prelabel.values.names import LONGEST, plane_name

FORMAT_NAMES = tuple(FORMATS)


def owners(shape, seed=0):
    return np.random.default_rng(seed).integers(0, 4, shape).astype(np.uint8)


@pytest.fixture
def mixed(image):
    return replace(image, provenance=owners(image.ids.shape))


def written(image, folder, name, **options):
    receipt = export([image], folder, name, Options(overwrite=True, **options))
    return target(folder, name, image.name), receipt


def read(path, name, vocabulary=None):
    (found,) = FORMATS[name].read(path, vocabulary)
    return found


@pytest.mark.parametrize("name", FORMAT_NAMES)
def test_every_format_gives_each_pixel_back(mixed, tmp_path, name):
    path, receipt = written(mixed, tmp_path, name)
    assert beside(path) in receipt.paths
    assert receipt.exact
    found = read(path, name)
    np.testing.assert_array_equal(found.provenance, mixed.provenance)
    assert found.doubt == ""
    again = read(path, name, mixed.vocabulary)
    np.testing.assert_array_equal(again.provenance, mixed.provenance)


@pytest.mark.parametrize("name", FORMAT_NAMES)
@pytest.mark.parametrize("owner", [MODEL, HUMAN, IMPORTED, REVIEWED])
def test_pixels_of_one_origin_need_a_word_and_no_file(image, tmp_path, name, owner):
    written(replace(image, provenance=owners(image.ids.shape)), tmp_path, name)
    path, receipt = written(
        replace(image, provenance=np.full(image.ids.shape, owner, np.uint8)), tmp_path, name
    )
    assert not beside(path).exists(), "that of the export before is gone"
    assert beside(path) not in receipt.paths
    found = read(path, name)
    assert (found.provenance == owner).all()
    assert found.provenance.shape == image.ids.shape


@pytest.mark.parametrize("name", FORMAT_NAMES)
def test_labels_of_unknown_origin_stay_so(image, tmp_path, name):
    path, _ = written(image, tmp_path, name)
    found = read(path, name)
    assert found.provenance is None
    assert found.doubt == ""


def test_an_answer_of_a_model_is_the_models(vocabulary):
    ids = np.ones((2, 3), np.uint16)
    found = LabelMap(ids, ids.astype(np.float16), ids, vocabulary, origin=(1, 1))
    whole = LabelImage.of(found, "a", shape=(4, 5))
    assert word_of(whole.provenance) == "model"
    assert whole.provenance.shape == (4, 5)


def test_a_stack_in_a_tiff_and_in_planes(vocabulary, tmp_path):
    ids = np.random.default_rng(1).integers(0, 3, (3, 4, 5)).astype(np.uint16)
    stack = LabelImage(ids, vocabulary, "s", "s.tif", provenance=owners(ids.shape, 2))
    path, _ = written(stack, tmp_path, "tiff")
    np.testing.assert_array_equal(read(path, "tiff").provenance, stack.provenance)
    export([stack], tmp_path / "png", "png")
    for number in range(3):
        found = read(tmp_path / "png" / f"s_t{number:04d}.png", "png")
        np.testing.assert_array_equal(found.provenance, stack.provenance[number])
    export([stack], tmp_path, "coco")
    planes = FORMATS["coco"].read(tmp_path / "instances.json", None)
    for number, plane in enumerate(planes):
        np.testing.assert_array_equal(plane.provenance, stack.provenance[number])


def test_axes_of_length_one_make_no_difference(vocabulary, tmp_path):
    ids = np.arange(3, dtype=np.uint16).reshape(1, 1, 3)
    one = LabelImage(ids, vocabulary, "s", provenance=owners(ids.shape, 3))
    path, _ = written(one, tmp_path, "tiff")
    for found in (read(path, "tiff"), read(path, "tiff", vocabulary)):
        np.testing.assert_array_equal(found.provenance.ravel(), one.provenance.ravel())
    assert digest(ids) == digest(ids[0])


def test_polygons_that_lose_pixels_keep_their_owners(mixed, tmp_path):
    path, receipt = written(mixed, tmp_path, "coco", own=CocoOptions("polygons"))
    assert not receipt.exact
    np.testing.assert_array_equal(read(path, "coco").provenance, mixed.provenance)


def test_a_coco_file_that_grows_keeps_those_of_its_images(mixed, tmp_path):
    path, _ = written(mixed, tmp_path, "coco")
    other = replace(mixed, name="b", source="b.jpg", provenance=owners(mixed.ids.shape, 7))
    plain = replace(mixed, name="c", source="c.jpg", provenance=None)
    export([other], tmp_path, "coco")
    export([plain], tmp_path, "coco")
    found = {image.source: image for image in FORMATS["coco"].read(path, None)}
    np.testing.assert_array_equal(found["img.jpg"].provenance, mixed.provenance)
    np.testing.assert_array_equal(found["b.jpg"].provenance, other.provenance)
    assert found["c.jpg"].provenance is None
    model = np.full(mixed.ids.shape, MODEL, np.uint8)
    written(replace(mixed, provenance=model), tmp_path, "coco")
    assert [e["image"] for e in json.loads(beside(path).read_text())["images"]] == ["b.jpg"]
    written(replace(other, provenance=None), tmp_path, "coco")
    assert not beside(path).exists()


def spoil_pixels(path, name):
    """Another tool paints one pixel and keeps the table."""
    if name == "png":
        with Image.open(path) as picture:
            picture.load()
            info = dict(picture.info)
            picture.putpixel((0, 0), 2)
        picture.save(path, pnginfo=None)
        assert info
    elif name == "coco":
        data = json.loads(path.read_text())
        del data["annotations"][0]
        path.write_text(json.dumps(data))


@pytest.mark.parametrize("name", ["png", "coco"])
@pytest.mark.parametrize("whole", [True, False])
def test_labels_changed_elsewhere_are_imported_and_it_is_told(mixed, tmp_path, name, whole):
    model = np.full(mixed.ids.shape, MODEL, np.uint8)
    path, _ = written(replace(mixed, provenance=model) if whole else mixed, tmp_path, name)
    spoil_pixels(path, name)
    found = read(path, name)
    assert found.provenance is None
    assert found.doubt == (
        f"{path.name} was changed after it was exported: all labels count as imported, and no run "
        "changes them."
    )


def entry(data):
    return data["images"][0]


SPOILS = {
    "no JSON": lambda text: text[: len(text) // 2],
    "no list": lambda text: json.dumps({**json.loads(text), "images": 3}),
    "another schema": lambda text: json.dumps({**json.loads(text), "schema": 9}),
    "too large": lambda text: text + " " * 200_000,
}
MISFITS = {
    "another digest": lambda e: e.update(pixels="0" * 64),
    "no values": lambda e: e.pop("values"),
    "no base64": lambda e: e.update(values="§"),
    "a number": lambda e: e.update(values=3),
    "no zlib": lambda e: e.update(values="AAAA"),
    "too few": lambda e: e.update(values="eJxjYAAAAAIAAQ=="),
}


@pytest.mark.parametrize("name", FORMAT_NAMES)
@pytest.mark.parametrize("how", [*SPOILS, "gone", "of others"])
def test_a_damaged_file_is_ignored_and_told(mixed, tmp_path, name, how):
    path, _ = written(mixed, tmp_path, name)
    file = beside(path)
    if how == "gone":
        file.unlink()
    else:
        text = "x" if how == "of others" else SPOILS[how](file.read_text())
        file.write_text(text)
    found = read(path, name)
    assert found.provenance is None
    what = "is missing" if how == "gone" else "is damaged"
    assert found.doubt.startswith(f"{file.name}, which says whose its pixels are, {what}: all ")
    np.testing.assert_array_equal(found.ids, mixed.ids)


@pytest.mark.parametrize("name", FORMAT_NAMES)
@pytest.mark.parametrize("how", [*MISFITS, "a bomb", "wrong values"])
def test_a_file_that_does_not_fit_is_ignored_and_told(mixed, tmp_path, name, how):
    import base64
    import zlib

    path, _ = written(mixed, tmp_path, name)
    data = json.loads(beside(path).read_text())
    if how in MISFITS:
        MISFITS[how](entry(data))
    else:
        content = bytes(1 << 24) if how == "a bomb" else bytes([9]) * mixed.ids.size
        entry(data)["values"] = base64.b64encode(zlib.compress(content, 9)).decode()
    beside(path).write_text(json.dumps(data))
    found = read(path, name)
    assert found.provenance is None
    assert "does not fit the labels of img.jpg" in found.doubt


@pytest.mark.parametrize("name", FORMAT_NAMES)
def test_a_file_of_others_is_never_replaced(mixed, tmp_path, name):
    path = target(tmp_path, name, mixed.name)
    beside(path).write_text("mine")
    with pytest.raises(FileFormatError, match="no provenance of ours"):
        written(mixed, tmp_path, name)
    assert not path.exists()
    written(replace(mixed, provenance=None), tmp_path, name)
    assert beside(path).read_text() == "mine"


@pytest.mark.parametrize("name", FORMAT_NAMES)
def test_it_is_neither_image_nor_labels_nor_in_the_way_of_a_name(mixed, tmp_path, name):
    picture = tmp_path / "img.jpg"
    Image.new("RGB", (17, 12)).save(picture)
    out = tmp_path / "out"
    claim = claim_of_file(picture)
    receipt = export_one(mixed, claim, out, name, Options())
    side = beside(receipt.paths[0])
    assert side.exists()
    assert not ours(side)
    assert [p.path for p in find_images([str(tmp_path)], leave_out=out)] == [picture]
    with pytest.raises(FileFormatError, match="exists already"):
        export_one(mixed, claim, out, name, Options())
    other = replace(mixed, provenance=owners(mixed.ids.shape, 5))
    export_one(other, claim, out, name, Options(overwrite=True))
    found = read(receipt.paths[0], name)
    np.testing.assert_array_equal(found.provenance, other.provenance)
    assert len(list(out.glob("*.prov"))) == 1


def test_formats_side_by_side_have_files_of_their_own(mixed, tmp_path):
    for number, name in enumerate(FORMAT_NAMES):
        written(replace(mixed, provenance=owners(mixed.ids.shape, number)), tmp_path, name)
    for number, name in enumerate(FORMAT_NAMES):
        found = read(target(tmp_path, name, mixed.name), name)
        np.testing.assert_array_equal(found.provenance, owners(mixed.ids.shape, number))


def test_the_longest_name_of_a_plane_fits(mixed, tmp_path):
    name = plane_name("x" * LONGEST, 1234567)
    for format_name in ("png", "tiff"):
        path, _ = written(replace(mixed, name=name), tmp_path, format_name)
        assert read(path, format_name).provenance is not None


def test_a_provenance_has_the_size_of_its_labels_and_known_values(image, tmp_path):
    with pytest.raises(ImageError, match="is not that of a label map"):
        replace(image, provenance=np.zeros((2, 2), np.uint8))
    strange = replace(image, provenance=np.full(image.ids.shape, 9, np.uint8))
    with pytest.raises(ImageError, match="values from 0 to 3, not 9"):
        export([strange], tmp_path, "png")

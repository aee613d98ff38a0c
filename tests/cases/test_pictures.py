"""Every kind of picture through `prelabel run`: the right RGB, planes, size, and sentence."""

import json

import numpy as np
import pytest
import tifffile
from pictures import DATA, DEEP, GREY, KINDS, RGB, grey, stretched, tiff
from PIL import ExifTags, Image
from pycocotools.coco import COCO
from rgb_engine import WORDS, RgbEngine, ids_of
from typer.testing import CliRunner

from napari_prelabel import cli
from napari_prelabel.images.read import read_image
from napari_prelabel.models import catalog
from napari_prelabel.values.errors import ImageError
from napari_prelabel.values.job import Job
from napari_prelabel.values.vocabulary import Vocabulary

SHOWN = sorted(KINDS)


@pytest.fixture
def prelabel(monkeypatch, tmp_path):
    """`prelabel run` with an engine that needs no models."""
    monkeypatch.setattr(cli.screen, "engine", lambda _: RgbEngine())
    monkeypatch.setattr(catalog, "installed", lambda _: True)
    monkeypatch.setenv("COLUMNS", "400")
    (tmp_path / "words.txt").write_text(WORDS)
    job = Job(Vocabulary.parse(WORDS), "base")
    (tmp_path / "job.json").write_text(job.to_json())

    def call(path, *more, form="png"):
        arguments = ["run", path, "--job", tmp_path / "job.json", "--format", form, "--out",
                     tmp_path / "out", *more]  # fmt: skip
        result = CliRunner().invoke(cli.app, [str(a) for a in arguments])
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return call


def written(folder):
    """ids of every PNG of a folder, by name, as Pillow reads them."""
    out = {}
    for path in sorted(folder.glob("*.png")):
        with Image.open(path) as picture:
            out[path.stem] = np.asarray(picture)
    return out


@pytest.mark.parametrize("name", SHOWN)
def test_values_are_as_the_file_says(name, tmp_path):
    path, right = KINDS[name](tmp_path)
    pixels = read_image(path)
    assert len(pixels.planes) == len(right.planes)
    for number, levels in enumerate(right.planes):
        shown = pixels.planes[number].show()
        off = np.abs(shown.rgb.astype(int) - levels)
        assert off.max() <= right.atol, (name, off.max())
        valid = np.ones(levels.shape[:2], bool) if shown.valid is None else shown.valid
        empty = right.empty[number] if right.empty else np.zeros(levels.shape[:2], bool)
        np.testing.assert_array_equal(~valid, empty)
    assert pixels.scale == (pytest.approx(right.scale) if right.scale else None)


@pytest.mark.parametrize("name", SHOWN)
def test_the_command_line_labels_it(name, tmp_path, prelabel):
    folder = tmp_path / "in"
    folder.mkdir()
    path, right = KINDS[name](folder)
    result = prelabel(path)
    assert result.exit_code == 0, result.output
    assert right.told in result.output.replace("\n", " ")
    found = list(written(tmp_path / "out").values())
    assert len(found) == len(right.planes)
    pixels = read_image(path)
    for number, ids in enumerate(found):
        shown = pixels.planes[number].show()
        wanted = ids_of(shown.rgb)
        if shown.valid is not None:
            wanted[~shown.valid] = 0
        np.testing.assert_array_equal(ids, wanted)
    if right.scale:
        told = json.loads(next((tmp_path / "out").glob("*.labels.json")).read_text())
        assert told["scale"] == pytest.approx(right.scale)
        assert told["unit"] == "um"


def test_unequal_pages_keep_their_numbers(tmp_path, prelabel):
    result = prelabel(DATA / "pages_unequal.tif")
    assert result.exit_code == 0
    shapes = {name: ids.shape for name, ids in written(tmp_path / "out").items()}
    assert shapes == {
        "pages_unequal_t0000": (288, 272),
        "pages_unequal_t0001": (144, 136),
        "pages_unequal_t0002": (288, 272),
    }
    again = prelabel(DATA / "pages_unequal.tif")
    assert "already there" in again.output
    assert again.exit_code == 0


@pytest.mark.parametrize("form", ["tiff", "coco"])
def test_unequal_pages_in_the_other_formats(form, tmp_path, prelabel):
    wanted = [(18, 17), (9, 8), (18, 17)]
    with tifffile.TiffWriter(tmp_path / "pages.tif") as file:
        for number, shape in enumerate(wanted):
            grey = np.add.outer(np.arange(shape[0]), np.arange(shape[1])) * (number + 1)
            file.write(grey.astype(np.uint8), metadata=None)
    assert prelabel(tmp_path / "pages.tif", form=form).exit_code == 0
    if form == "tiff":
        shapes = [tifffile.imread(p).shape for p in sorted((tmp_path / "out").glob("*.tif"))]
    else:
        coco = COCO(tmp_path / "out" / "instances.json")
        shapes = [(i["height"], i["width"]) for i in coco.dataset["images"]]
    assert shapes == wanted


@pytest.mark.parametrize(
    ("chosen", "channels"), [("3,2,1", (3, 2, 1)), ("4", (4, 4, 4)), (" 0, 4 ", (0, 4))]
)
def test_channels_are_chosen_by_number(chosen, channels, tmp_path, prelabel):
    result = prelabel(DATA / "five_bands.tif", "--channels", chosen)
    assert result.exit_code == 0
    assert "5 channels" not in result.output
    bands = tifffile.imread(DATA / "five_bands.tif")
    levels = np.zeros((*bands.shape[:2], 3), np.uint8)
    for i, channel in enumerate(channels):
        levels[..., i] = stretched(bands[..., channel])
    (ids,) = written(tmp_path / "out").values()
    np.testing.assert_array_equal(ids, ids_of(levels))


@pytest.mark.parametrize(
    ("chosen", "told"),
    [
        ("5", "There is no channel 5: the image has 5, numbered from 0."),
        ("red", "--channels takes one to three channels counted from 0"),
        ("0,1,2,3", "--channels takes one to three channels counted from 0"),
        ("", "--channels takes one to three channels counted from 0"),
    ],
)
def test_channels_that_are_none_are_told(chosen, told, prelabel):
    result = prelabel(DATA / "five_bands.tif", "--channels", chosen)
    assert result.exit_code != 0
    assert told in (result.output + str(result.exception))


def test_five_bands_ask_for_a_choice(prelabel):
    result = prelabel(DATA / "five_bands.tif")
    assert "The file has 5 channels; 0, 1, 2 were shown" in result.output
    assert "--channels" in result.output


def test_an_orientation_of_a_tiff_is_told(tmp_path):
    path, _ = tiff(tmp_path, GREY, None, extratags=[(274, 3, 1, 6, True)])
    pixels = read_image(path)
    assert pixels.planes[0].shape == GREY.shape
    assert "labelled as its pixels are stored" in pixels.notices[0]


def test_complex_numbers_are_refused_in_one_sentence(tmp_path, prelabel):
    path, _ = tiff(tmp_path, GREY.astype(np.complex64), None)
    result = prelabel(path)
    assert result.exit_code != 0
    assert "complex64 cannot be shown to the models: convert it to real numbers" in result.output


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ({"photometric": "itulab"}, "ITU"),
        ({"photometric": "cielab", "dtype": np.uint32}, "not known: save as RGB"),
    ],
)
def test_colours_that_nobody_writes_are_refused(how, told, tmp_path):
    dtype = how.pop("dtype", np.uint8)
    path, _ = tiff(tmp_path, RGB.astype(dtype), None, **how)
    with pytest.raises(ImageError, match=told):
        read_image(path).plane(0)


@pytest.mark.parametrize("dtype", ["u1", "u2", "i2", "i4", "f2", "f4", "f8", ">u2", ">f4"])
def test_arrays_of_every_type_and_shape_are_read_back(dtype, tmp_path):
    rng = np.random.default_rng(3)
    for shape in [(1, 9), (33, 2), (5, 6, 2), (7, 9, 4), (4, 5, 7)]:
        data = rng.integers(0, 200, shape).astype(dtype)
        many = {"planarconfig": "contig"} if data.ndim > 2 else {}
        path, _ = tiff(tmp_path, data, None, photometric="minisblack", **many)
        (plane,) = read_image(path).planes
        np.testing.assert_array_equal(plane.data, data)
        assert plane.show().rgb.shape == (*shape[:2], 3)


def test_a_photograph_that_is_turned_in_a_phone_file_says_so(tmp_path):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    front, back = Image.fromarray(RGB), Image.fromarray(RGB[::2, ::2])
    front.save(tmp_path / "a.jpg", format="MPO", save_all=True, append_images=[back], exif=exif)
    pixels = read_image(tmp_path / "a.jpg")
    assert len(pixels.planes) == 1
    assert len(pixels.notices) == 1


def test_hot_pixels_do_not_darken_the_rest(tmp_path, prelabel):
    assert prelabel(DATA / "hot.tif").exit_code == 0
    values = tifffile.imread(DATA / "hot.tif")
    (ids,) = written(tmp_path / "out").values()
    np.testing.assert_array_equal(ids, ids_of(grey(stretched(values))))
    assert stretched(values).std() > 40


def test_limits_of_the_job_are_followed(tmp_path, prelabel):
    job = json.loads((tmp_path / "job.json").read_text())
    job["display"] = {"limits": [[1000, 3000]], "channels": []}
    (tmp_path / "job.json").write_text(json.dumps(job))
    path, _ = tiff(tmp_path, DEEP[..., 0], None)
    assert prelabel(path).exit_code == 0
    share = (DEEP[..., 0].astype(float) - 1000) / 2000
    levels = np.rint(np.clip(share * 255, 0, 255)).astype(np.uint8)
    np.testing.assert_array_equal(written(tmp_path / "out")["a"], ids_of(grey(levels)))

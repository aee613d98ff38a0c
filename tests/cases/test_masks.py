"""Masks as other tools draw them, in the real command line and in the Reference dock's pairs."""

import io
import shutil
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from napari.layers import Image as Picture
from napari.layers import Labels
from PIL import Image
from typer.testing import CliRunner

from napari_prelabel.cli import app
from napari_prelabel.gui.reference.pairs import find_pairs, grounded, reviewed, take
from napari_prelabel.images.masks import check_told_apart, with_background
from napari_prelabel.reference.store import ReferenceSet
from napari_prelabel.reviewed import find_pairs as file_pairs
from napari_prelabel.values.errors import ImageError
from napari_prelabel.values.labels import relabel
from napari_prelabel.values.vocabulary import Vocabulary

DATA = Path(__file__).parent / "data"
GROUND = "--unlabelled-is-background"


@pytest.fixture
def folders(tmp_path):
    """One image and its mask of 0 and 255, each in a folder of its own."""
    for name in ("images", "masks"):
        (tmp_path / name).mkdir()
    shutil.copy(DATA / "mask_0_255_image.png", tmp_path / "images" / "a.png")
    shutil.copy(DATA / "mask_0_255.png", tmp_path / "masks" / "a.png")
    return tmp_path


@pytest.fixture
def white():
    return opened("mask_0_255.png") > 0


def another(root):
    """A second image, b."""
    with Image.open(DATA / "mask_0_255_image.png") as image:
        image.rotate(180).save(root / "images" / "b.png")


def opened(name):
    with Image.open(DATA / name) as image:
        return np.asarray(image)


def reference(command, root, classes, *more, code=0):
    where = ["--images", root / "images", "--labels", root / "masks"]
    arguments = ["reference", command, root / "set", *where, "--classes", classes, *more]
    done = CliRunner().invoke(app, [str(a) for a in arguments])
    assert done.exit_code == code, done.output + repr(done.exception)
    return " ".join(done.output.split())


def areas(root) -> dict[str, int]:
    """Pixels of the largest regions of each word in a set, as far as its segments tell."""
    held = ReferenceSet.open(root / "set")
    return {label.phrase: label.count for label in held.labels()}


def save(kind, mask, path):
    """The same mask as other tools write it; its values are 0 and 255, or 0 and 1."""
    grey = mask.astype(np.uint8) * 255
    if kind == "L":
        Image.fromarray(grey).save(path)
    elif kind == "1":
        Image.fromarray(grey).convert("1").save(path)
    elif kind == "P":
        picture = Image.fromarray(mask.astype(np.uint8))
        picture.putpalette([0, 0, 0, 255, 255, 255])
        picture.save(path)
    elif kind == "P255":
        picture = Image.fromarray(grey)
        picture.putpalette([v for i in range(256) for v in (i, i, i)])
        picture.save(path)
    elif kind == "16":
        Image.fromarray(mask.astype(np.uint16) * 65535).save(path)
    elif kind in ("RGB", "RGBA", "LA"):
        Image.fromarray(grey).convert(kind).save(path)
    elif kind == "RGB ids":
        Image.fromarray(np.dstack([mask.astype(np.uint8)] * 3)).save(path)
    elif kind == "clear":  # white everywhere, drawn by its opacity
        Image.fromarray(np.dstack([np.full_like(grey, 255)] * 3 + [grey])).save(path)
    elif kind == "RGB16":
        deep = np.dstack([mask.astype(np.uint16)] * 3)
        path.write_bytes(imagecodecs.png_encode(deep))
    elif kind in ("bmp", "gif", "jpg"):
        path.unlink(missing_ok=True)
        Image.fromarray(grey).save(path.with_suffix(f".{kind}"))
    elif kind == "jpg in png":
        with io.BytesIO() as held:
            Image.fromarray(grey).save(held, "JPEG", quality=60)
            Image.open(held).save(path)
    elif kind.startswith("tif "):
        path.unlink(missing_ok=True)
        stored = {
            "tif bool": (mask, None), "tif 32": (mask * np.uint32(2**32 - 1), None),
            "tif int32": (grey.astype(np.int32), None), "tif float": (mask * np.float32(1), None),
            "tif rgb": (np.dstack([grey] * 3), "rgb"),
        }  # fmt: skip
        values, photometric = stored[kind]
        tifffile.imwrite(path.with_suffix(".tif"), values, photometric=photometric)
    elif kind == "tif":
        path.unlink(missing_ok=True)
        tifffile.imwrite(path.with_suffix(".tif"), grey)


EXACT = ["L", "P255", "16", "RGB", "RGBA", "LA", "clear", "bmp"]
EXACT += ["tif", "tif 32", "tif int32", "tif rgb"]
IDS = ["1", "P", "tif bool", "RGB ids", "RGB16", "tif float", "gif"]
DAMAGED = ["jpg", "jpg in png"]


@pytest.mark.parametrize("kind", EXACT + IDS + DAMAGED)
def test_a_mask_of_two_values_is_understood(folders, white, kind):
    save(kind, white, folders / "masks" / "a.png")
    pairs, notes = file_pairs(
        folders / "images", folders / "masks", Vocabulary.parse("stone"), ground=True
    )
    ((item,), faults) = pairs.usable()
    assert faults == ()
    wrong = (item.ids == 1) != white
    assert wrong.mean() < (0.01 if kind in DAMAGED else 1e-9)
    np.testing.assert_array_equal(item.ids == 2, item.ids != 1)
    notice = "".join(notes)
    assert ("255 is taken for stone, 0 for unlabelled" in notice) == (kind in EXACT)
    assert ("as JPEG leaves them: 128 and more is taken for stone" in notice) == (kind in DAMAGED)


@pytest.mark.parametrize("kind", ["RGBA", "jpg", "tif 32"])
def test_the_command_line_takes_masks_as_other_tools_write_them(folders, white, kind):
    save(kind, white, folders / "masks" / "a.png")
    assert "is taken for stone" in reference("build", folders, "stone", GROUND)
    found = areas(folders)
    assert set(found) == {"stone", "background"}
    assert min(found.values()) > 0


def colours(path):
    Image.fromarray(np.dstack([np.zeros((304, 368, 2), np.uint8), opened("mask_0_255.png")])).save(
        path
    )


def floats(path):
    path.unlink()
    tifffile.imwrite(path.with_suffix(".tif"), np.full((304, 368), 0.5, np.float32))


def negative(path):
    path.unlink()
    tifffile.imwrite(path.with_suffix(".tif"), np.full((304, 368), -1, np.int32))


def jpeg_ids(path):
    path.unlink()
    Image.fromarray((np.arange(304 * 368) // 30000 * 40).reshape(304, 368).astype(np.uint8)).save(
        path.with_suffix(".jpg")
    )


def colour_bmp(path):
    colours(path.with_suffix(".bmp"))
    path.unlink()


def broken_gif(path):
    path.unlink()
    path.with_suffix(".gif").write_bytes(b"GIF89a")


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda path: Image.new("L", (9, 7)).save(path), "has 9 x 7 pixels, a.png 368 x 304:"),
        (colours, "is a colour picture (mode RGB), not a label map"),
        (colour_bmp, "is a colour picture, not a label map: save a PNG."),
        (floats, "holds float32 of shape (304, 368), not a map of ids"),
        (negative, "holds int32 of shape (304, 368), not a map of ids"),
        (jpeg_ids, "cannot hold ids of classes: save the labels as PNG"),
        (broken_gif, "a.gif is damaged or no image"),
    ],
)
def test_masks_that_tell_nothing_are_a_sentence(folders, spoil, sentence):
    spoil(folders / "masks" / "a.png")
    assert sentence in reference("build", folders, "stone, sky", code=2)
    assert not (folders / "set").exists()


@pytest.mark.parametrize(
    ("classes", "note"),
    [
        ("0 ground, 1 stone", "255 is taken for stone, 0 for ground"),
        ("0 water, 1 stone", "255 is taken for stone, 0 for water"),
        ("stone, background", "255 is taken for stone, 0 for background"),
        ("background, stone", "255 is taken for stone, 0 for background"),
    ],
)
def test_two_classes_are_told_apart_where_it_is_clear(folders, classes, note):
    assert note in reference("build", folders, classes)
    assert len(areas(folders)) == 2
    assert ReferenceSet.open(folders / "set").n_images == 1


@pytest.mark.parametrize("classes", ["stone, water", "stone, water, sky"])
def test_where_it_is_not_clear_it_is_asked(folders, classes):
    told = reference("build", folders, classes, code=2)
    assert "holds 0 and 255 alone" in told
    assert "name that class alone, or both from 0 on" in told
    assert not (folders / "set").exists()


def test_255_is_ignored_beside_other_ids(folders, white):
    ids = white.astype(np.uint8)
    ids[:40] = 255
    Image.fromarray(ids).save(folders / "masks" / "a.png")
    another(folders)
    reference("build", folders, "stone", GROUND)
    assert set(areas(folders)) == {"stone", "background"}
    # One mask of two values among others that have ids: 255 stays "ignore".
    shutil.copy(DATA / "mask_0_255.png", folders / "masks" / "b.png")
    assert "255 is taken" not in reference("add", folders, "stone", GROUND)


def test_a_set_that_would_give_every_pixel_one_class_is_refused_with_the_cure(folders):
    told = reference("build", folders, "stone", code=2)
    assert "would know 'stone' alone and give it every pixel" in told
    assert GROUND in told
    assert not (folders / "set" / "manifest.json").exists()
    reference("build", folders, "stone", GROUND)
    another(folders)
    for name in ("images", "masks"):
        (folders / name / "a.png").unlink()
    shutil.copy(DATA / "mask_0_255.png", folders / "masks" / "b.png")
    reference("add", folders, "stone")  # the set knows what stone is to be told from
    assert set(areas(folders)) == {"stone", "background"}


def test_a_mask_without_any_label_is_told(folders):
    Image.fromarray(np.zeros((304, 368), np.uint8)).save(folders / "masks" / "a.png")
    assert "no region of at least 4 pixels has a label" in reference(
        "build", folders, "stone", code=2
    )


def test_a_class_of_that_name_is_the_background():
    words = Vocabulary.parse("stone\nrest: Background\n- background noise")
    assert with_background(words) == (words, 2)
    words = Vocabulary.parse("stone\n- background, sky")
    grown, number = with_background(words)
    assert (grown.names, grown.background, number) == (("stone", "background"), ("sky",), 2)


def test_one_word_is_no_set():
    check_told_apart(["a", "b"], "set")
    with pytest.raises(ImageError, match="would know 'a' alone"):
        check_told_apart(["a", "a"], "set")


# In the window: a mask that was opened and converted to labels


def layers(white, scale=255):
    image = Picture(opened("mask_0_255_image.png"), name="photo")
    return [image, Labels(white.astype(np.uint8) * np.uint8(scale), name="photo mask")]


def test_the_dock_reads_a_mask_of_two_values(white):
    (pair,) = find_pairs(layers(white), Vocabulary.parse("stone"))
    (item,) = reviewed([grounded(take(pair))])
    np.testing.assert_array_equal(item.ids == 1, white)
    np.testing.assert_array_equal(item.ids == 2, ~white)
    assert item.vocabulary.names == ("stone", "background")
    (plain,) = reviewed([take(pair)])
    np.testing.assert_array_equal(relabel(item.ids, {2: 0}), plain.ids)
    (pair,) = find_pairs(layers(white), Vocabulary.parse("stone\nsky"))
    with pytest.raises(ImageError, match="holds 0 and 255 alone"):
        take(pair)


def test_the_dock_reads_a_mask_that_jpeg_damaged_and_says_so(white):
    with io.BytesIO() as held:
        Image.fromarray(white.astype(np.uint8) * 255).save(held, "JPEG", quality=60)
        damaged = np.asarray(Image.open(held)).astype(int)
    for data in (damaged, np.dstack([damaged] * 3)):  # grey, and the same in three colours
        pictures = [Picture(opened("mask_0_255_image.png"), name="photo")]
        (pair,) = find_pairs([*pictures, Labels(data, name="photo m")], Vocabulary.parse("stone"))
        taken = take(pair)
        assert taken.notice.startswith("photo m: masks hold values near 0 and 255")
        (item,) = reviewed([taken])
        assert ((item.ids == 1) != white).mean() < 0.01


def test_the_dock_tells_what_it_cannot_take(white):
    picture = Picture(opened("mask_0_255_image.png"), name="photo")
    small = Labels(white[:9, :7].astype(np.uint8), name="photo mask")
    (pair,) = find_pairs([picture, small], Vocabulary.parse("stone"))
    assert pair.problem == (
        "It has 9 x 7 pixels and the image 304 x 368 x 3: open labels of its size."
    )
    colour = np.dstack([white, ~white, white]).astype(np.uint8) * 255
    (pair,) = find_pairs([picture, Labels(colour, name="m")], Vocabulary.parse("stone"))
    with pytest.raises(ImageError, match="was a colour picture: labels have one number a pixel"):
        take(pair)

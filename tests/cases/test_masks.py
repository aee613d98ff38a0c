"""Masks as other tools draw them, in the real command line and in the Reference dock's pairs."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import tifffile
from napari.layers import Image as Picture
from napari.layers import Labels
from PIL import Image
from typer.testing import CliRunner

from napari_prelabel.cli import app
from napari_prelabel.errors import ImageError
from napari_prelabel.gui.reference.pairs import find_pairs, grounded, reviewed, take
from napari_prelabel.labels import relabel
from napari_prelabel.masks import check_told_apart, with_background
from napari_prelabel.reference.store import ReferenceSet
from napari_prelabel.vocabulary import Vocabulary

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
    elif kind == "tif":
        path.unlink(missing_ok=True)
        tifffile.imwrite(path.with_suffix(".tif"), grey)
    elif kind == "tif bool":
        path.unlink(missing_ok=True)
        tifffile.imwrite(path.with_suffix(".tif"), mask)


@pytest.mark.parametrize("kind", ["L", "1", "P", "P255", "16", "tif", "tif bool"])
def test_a_mask_of_two_values_is_understood(folders, white, kind):
    save(kind, white, folders / "masks" / "a.png")
    told = reference("build", folders, "stone", GROUND)
    found = areas(folders)
    assert set(found) == {"stone", "background"}
    assert min(found.values()) > 0
    if kind not in ("1", "P", "tif bool"):
        assert "255 is taken for stone, 0 for unlabelled" in told


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

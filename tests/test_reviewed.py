"""Pairs of image and label files: found by name, read when asked for, refused with a sentence."""

from dataclasses import replace

import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_prelabel.formats import LabelImage, export
from napari_prelabel.formats.subject import file_content
from napari_prelabel.reviewed import find_pairs
from napari_prelabel.values.errors import FileFormatError, ImageError
from napari_prelabel.values.labels import HUMAN
from napari_prelabel.values.vocabulary import IGNORE, Vocabulary

WORDS = Vocabulary.parse("sky\ntree")


@pytest.fixture
def folders(tmp_path):
    images, labels = tmp_path / "images", tmp_path / "labels"
    (images / "day").mkdir(parents=True)
    (labels / "day").mkdir(parents=True)
    for number, name in enumerate(("a", "day/b")):
        Image.new("RGB", (7, 5), (number, 9, 9)).save(images / f"{name}.png")
        ids = np.full((5, 7), number, np.uint8)
        ids[0, 0] = 255
        Image.fromarray(ids).save(labels / f"{name}.png")
    return images, labels


def test_pairs_meet_by_name(folders):
    pairs, notes = find_pairs(*folders, WORDS)
    assert [p.name for p in pairs] == ["a", "day/b"]
    assert notes == ()
    assert pairs[1].image.shape == (5, 7, 3)
    assert np.unique(pairs[1].ids).tolist() == [1, IGNORE]
    assert pairs[1].vocabulary == WORDS
    assert [p.name for p in pairs[1:]] == ["day/b"]
    assert pairs.usable()[1] == ()


def test_what_only_a_model_said_may_be_left_out(folders):
    images, labels = folders
    for path in labels.rglob("*.png"):
        path.unlink()
    owners = np.zeros((5, 7), np.uint8)
    owners[:2] = HUMAN
    made = LabelImage(np.ones((5, 7), np.uint16), WORDS, "a", provenance=owners)
    export([made, replace(made, name="day/b", source="day/b.png")], labels, "png")
    (labels / "day" / "b.png.prov").unlink()
    pairs, _ = find_pairs(images, labels, mine_only=True, ground=True)
    good, faults = pairs.usable()
    assert faults == ()
    assert (good[0].ids == np.where(owners == HUMAN, 1, IGNORE)).all()
    assert (good[1].ids == 1).all()
    assert [doubt.partition(",")[0] for doubt in good.doubts] == ["b.png.prov"]
    zero, _ = find_pairs(images, labels, WORDS, from_zero=True, mine_only=True)
    assert (zero[0].ids == np.where(owners == HUMAN, 2, IGNORE)).all()
    every, _ = find_pairs(images, labels)
    assert (every[0].ids == 1).all()


def test_ids_may_count_from_zero(folders):
    pairs, _ = find_pairs(*folders, WORDS, from_zero=True)
    assert [np.unique(p.ids).tolist() for p in pairs] == [[1, IGNORE], [2, IGNORE]]
    few, _ = find_pairs(*folders, Vocabulary.parse("sky"), from_zero=True)
    assert [f.partition("holds")[2] for f in few.usable()[1]] == [
        " id 1, but from 0 on there are 1 classes: name all of them."
    ]


def test_the_table_beside_labels_names_them(folders):
    images, labels = folders
    for path in labels.rglob("*.png"):
        path.unlink()
    export([LabelImage(np.ones((5, 7), np.uint16), WORDS, "a")], labels, "tiff")
    pairs, _ = find_pairs(images, labels)
    assert pairs[0].vocabulary.names == WORDS.names


def test_the_subject_in_labels_comes_before_their_name(folders):
    """Two images called alike, one renamed since, one of another content, one of no file."""
    images, labels = folders
    for path in (*labels.rglob("*.png"), *images.rglob("*.png")):
        path.unlink()
    contents = {}
    for number, name in enumerate(("a.png", "a.jpg", "renamed.png", "other.png", "layer.png")):
        Image.new("RGB", (7, 5), (9 * number, 9, 9)).save(images / name)
        contents[name] = file_content(images / name)
    told = [
        ("a", "a.jpg", contents["a.jpg"], "1" * 32),
        ("a.png", "a.png", contents["a.png"], "1" * 32),
        ("was", "was.png", contents["renamed.png"], "1" * 32),
        ("other", "other.png", "ab" * 32, "1" * 32), ("layer", "layer.png", "cd" * 32, ""),
    ]  # fmt: skip
    ids = np.ones((5, 7), np.uint16)
    for name, source, content, place in told:
        image = LabelImage(ids, WORDS, name, source, content=content, place=place)
        export([image], labels, "png")
    pairs, notes = find_pairs(images, labels)
    assert {f.picture.path.name: f.labels.name for f in pairs.files} == {
        "a.jpg": "a.png", "a.png": "a.png.png", "renamed.png": "was.png", "layer.png": "layer.png",
    }  # fmt: skip
    assert notes == (
        f"1 of 5 images of {images} have no labels and are left out.",
        f"other.png of {labels} belong to no image and are left out.",
    )


def test_labels_beside_their_images(folders):
    images, _ = folders
    export([LabelImage(np.ones((5, 7), np.uint16), WORDS, "a.png", "a.png")], images, "png")
    pairs, _ = find_pairs(images, images)
    assert [(f.picture.path.name, f.labels.name) for f in pairs.files] == [("a.png", "a.png.png")]


def test_files_without_a_partner_are_told(folders):
    images, labels = folders
    (images / "a.png").rename(images / "c.png")
    pairs, notes = find_pairs(images, labels, WORDS)
    assert [p.name for p in pairs] == ["day/b"]
    assert notes[0].startswith("1 of 2 images")
    assert notes[1].startswith("a.png of")
    (images / "day" / "b.png").unlink()
    with pytest.raises(FileFormatError, match=r"needs labels/a\.png"):
        find_pairs(images, labels, WORDS)
    with pytest.raises(FileFormatError, match="is no folder"):
        find_pairs(images, labels / "none", WORDS)


def test_labels_of_another_size_or_vocabulary(folders):
    images, labels = folders
    Image.fromarray(np.ones((5, 6), np.uint8)).save(labels / "a.png")
    Image.fromarray(np.full((5, 7), 9, np.uint8)).save(labels / "day" / "b.png")
    pairs, _ = find_pairs(images, labels, WORDS)
    none, (size, strange) = pairs.usable()
    assert len(none) == 0
    assert "choose the labels that belong to the image" in size
    assert "9" in strange


def test_stacks_are_refused(folders):
    images, labels = folders
    (images / "a.png").unlink()
    tifffile.imwrite(images / "a.tif", np.zeros((2, 5, 7), np.uint8))
    pairs, _ = find_pairs(images, labels, WORDS)
    with pytest.raises(ImageError, match="a stack of 2 planes"):
        pairs[[p.picture.name for p in pairs.files].index("a")]

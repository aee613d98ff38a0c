"""Corrected images become segments with the words of their classes."""

import hashlib
import io

import numpy as np
import pytest
from PIL import Image

from napari_prelabel.images.rgb import content_hash
from napari_prelabel.reference import correct
from napari_prelabel.reference.values import Source, with_position
from napari_prelabel.values.errors import ImageError
from napari_prelabel.values.retrieval import Proposals
from napari_prelabel.values.vocabulary import IGNORE, Vocabulary

WORDS = Vocabulary.parse("sky: heaven\ntree: oak, pine\nroad")
REGIONS = Proposals(kind="sam")  # a kind without superpixels here: the annotator's regions alone


@pytest.fixture(scope="module")
def image():
    rng = np.random.default_rng(5)
    coarse = rng.integers(0, 256, (5, 8, 3), np.uint8)
    return np.kron(coarse, np.ones((12, 12, 1), np.uint8))[:57, :90]


@pytest.fixture
def ids(image):
    ids = np.zeros(image.shape[:2], np.uint16)
    ids[:20] = 1
    ids[30:50, 10:40] = 2
    ids[30:50, 60:80] = 2
    ids[55, 3:6] = 3
    return ids


def source(image, name="a.png"):
    return Source(content_hash(image), name, image.shape[:2], "Ada", "2026-11-20", "CC0")


def pool(segments):
    """Mean row and column, and the area, of every segment."""
    rows = np.zeros((segments.count, 3), np.float32)
    for layer in segments.layers:
        for number in np.unique(layer[layer > 0]):
            y, x = np.nonzero(layer == number)
            rows[number - 1] = y.mean(), x.mean(), len(y)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def taught(image, ids, **options):
    options = {"proposals": REGIONS} | options
    return correct.addition(image, ids, WORDS, pool, source(image), **options)


def test_regions_are_named_by_their_class(image, ids):
    found = taught(image, ids)
    assert [(s.box, s.area, s.words) for s in found.addition.segments] == [
        ((0, 0, 20, 90), 1800, ("sky",)),
        ((30, 10, 50, 40), 600, ("tree",)),
        ((30, 60, 50, 80), 400, ("tree",)),
    ]
    assert found.skipped == 1  # the road has three pixels
    row = np.array([39.5, 24.5, 600])
    np.testing.assert_allclose(found.addition.embeddings[1], row / np.linalg.norm(row), rtol=1e-5)
    assert found.addition.source == source(image)
    assert all(s.origin == "correction" for s in found.addition.segments)


def test_a_region_too_small_is_counted_where_every_pixel_is_labelled(image, ids):
    ids[:] = 1
    ids[-1, -2:] = 2
    found = taught(image, ids)
    assert [s.words for s in found.addition.segments] == [("sky",)]
    assert found.skipped == 1


def test_unlabelled_and_ignored_pixels_give_no_segment(image, ids):
    ids[:] = 0
    assert taught(image, ids).addition.segments == ()
    ids[:] = IGNORE
    found = taught(image, ids, proposals=Proposals())
    assert found.addition.segments == found.addition.thumbnails == ()


def test_superpixels_join_the_regions(image, ids):
    found = taught(image, ids, proposals=Proposals())
    segments = found.addition.segments
    assert len(segments) > 30
    assert len(found.addition.embeddings) == len(found.addition.thumbnails) == len(segments)
    assert [s.words for s in segments[:3]] == [("sky",), ("tree",), ("tree",)]
    for segment in segments:
        y0, x0, y1, x1 = segment.box
        inside = ids[y0:y1, x0:x1]
        assert (inside == {"sky": 1, "tree": 2}[segment.words[0]]).sum() >= segment.area >= 4


def test_of_many_segments_every_class_keeps_a_share(image, ids):
    ids[22:24, :8] = 3
    few = taught(image, ids, proposals=Proposals(), most=20)
    names = [s.words[0] for s in few.addition.segments]
    assert len(names) == 20
    assert names[:4] == ["sky", "road", "tree", "tree"]
    assert {names.count(n) > 1 for n in ("sky", "tree")} == {True}
    again = taught(image, ids, proposals=Proposals(), most=20)
    assert again.addition.segments == few.addition.segments
    assert len(taught(image, ids, proposals=Proposals(), most=2).addition.segments) == 4


def test_positions_are_appended_when_the_set_has_them(image, ids):
    plain, placed = taught(image, ids).addition, taught(image, ids, position=True).addition
    boxes = [s.box for s in plain.segments]
    np.testing.assert_array_equal(
        placed.embeddings, with_position(plain.embeddings, boxes, ids.shape)
    )


def test_thumbnails_show_the_surroundings(image):
    boxes = [(0, 0, 57, 90), (2, 2, 5, 6), (3, 3, 9, 9), (50, 80, 57, 90), (0, 0, 40, 10)]
    shown = list(correct.thumbnails(image, boxes))
    sizes = [Image.open(io.BytesIO(png)).size for png in shown]
    assert sizes == [(64, 41), (64, 57), (64, 57), (64, 57), (64, 40)]
    assert shown[1] is shown[2]  # neighbours share a picture
    corner = np.asarray(Image.open(io.BytesIO(shown[1])))
    np.testing.assert_array_equal(corner, image[:57, :64])


def test_declared_synonyms_come_from_the_vocabulary():
    assert correct.declared(WORDS) == {"sky": ("heaven",), "tree": ("oak", "pine")}


def test_labels_of_another_image_or_vocabulary_are_refused(image, ids):
    with pytest.raises(ImageError, match="choose the labels that belong to it"):
        taught(image, ids[:-1])
    ids[0, 0] = 4
    with pytest.raises(ImageError, match="hold id 4, but the vocabulary has 3 classes"):
        taught(image, ids)


def test_the_image_is_named_by_its_pixels(image, ids):
    given = hashlib.sha256(repr(image.shape).encode())
    given.update(image.tobytes())
    assert taught(image, ids).addition.source.hash == given.hexdigest()

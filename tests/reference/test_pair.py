"""Plain images: phrases go to segments, segments without a phrase go."""

import numpy as np
import pytest

from napari_prelabel.methods.segments import Segments
from napari_prelabel.reference.pair import addition
from napari_prelabel.reference.phrases import Phrase
from napari_prelabel.reference.store import ReferenceSet
from napari_prelabel.reference.values import EncoderId, Source
from napari_prelabel.values.errors import ImageError

# Words as directions of CLIP's space; segments 1 to 4 look like the columns of SEEN.
WORDS = {"red barn": 0, "barn": 0, "lake": 1, "oak": 2, "tree": 2}
SEEN = np.eye(4, dtype=np.float32)


def extract(caption):
    return tuple(Phrase(p, p.split()[-1]) for p in caption.split(", ") if p)


@pytest.fixture
def world():
    layers = np.zeros((2, 8, 10), np.int32)
    layers[0, :4, :5], layers[0, :4, 5:], layers[0, 4:, :5] = 1, 2, 3
    layers[1, 2:6, 2:7] = 4
    image = np.random.default_rng(0).integers(0, 255, (8, 10, 3)).astype(np.uint8)
    return image, Segments(layers, 4), Source("ab" * 32, "farm.png", (8, 10), licence="CC0")


def run(world, captions, **more):
    image, segments, source = world
    pooled = []

    def pool(chosen):
        pooled.append(chosen)
        rows = np.arange(1, 1 + 3 * chosen.count, dtype=np.float32).reshape(-1, 3)
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    found = addition(
        image, captions, segments, source, extract=extract, place=lambda s: SEEN[: s.count],
        words=lambda texts: SEEN[[WORDS[t] for t in texts]], pool=pool, **more,
    )  # fmt: skip
    return found, pooled


def test_every_phrase_names_its_most_similar_segment(world):
    found, pooled = run(world, ["red barn, oak, barn", "tree, oak"])
    barn, tree = found.addition.segments
    assert (barn.words, barn.roots) == (("red barn", "barn"), ("barn", "barn"))
    assert (tree.words, tree.roots) == (("oak", "tree"), ("oak", "tree"))
    assert barn.box == (0, 0, 4, 5)
    assert tree.box == (4, 0, 8, 5)
    assert (barn.area, tree.area) == (20, 20)
    assert {s.origin for s in found.addition.segments} == {"caption"}
    assert (found.phrases, found.discarded) == (4, 2)
    assert pooled[0].count == 2
    assert set(np.unique(pooled[0].layers[0])) == {0, 1, 2}
    assert found.addition.embeddings.shape == (2, 3)
    assert len(found.addition.thumbnails) == 2
    assert found.addition.source.licence == "CC0"


def test_where_a_segment_lies_is_added_when_the_set_has_it(world):
    found, _ = run(world, ["lake"], position=True)
    assert found.addition.embeddings.shape == (1, 5)
    np.testing.assert_allclose(np.linalg.norm(found.addition.embeddings, axis=1), 1, rtol=1e-6)


@pytest.mark.parametrize("captions", [[], [""], ["", ""]])
def test_a_caption_without_phrases_gives_nothing(world, captions):
    found, pooled = run(world, captions)
    assert found.addition.segments == ()
    assert (found.phrases, found.discarded) == (0, 4)
    assert pooled == []


def test_an_image_without_segments_gives_nothing(world):
    image, _, source = world
    found, _ = run((image, Segments(np.zeros((1, 8, 10), np.int32), 0), source), ["lake"])
    assert found.addition.segments == ()
    assert found.phrases == 1


def test_segments_of_another_image_are_refused(world):
    image, segments, source = world
    with pytest.raises(ImageError, match="cut the image again"):
        run((image[:-1], segments, source), ["lake"])


def test_a_set_takes_what_was_paired(world, tmp_path):
    found, _ = run(world, ["red barn, lake"])
    held = ReferenceSet.create(tmp_path / "farm", EncoderId("eye", "0" * 64, 3))
    held.add([found.addition])
    assert [(label.phrase, label.root) for label in held.labels()] == [
        ("red barn", "barn"), ("lake", "lake"),
    ]  # fmt: skip
    np.testing.assert_array_equal(held.links().toarray(), np.eye(2))

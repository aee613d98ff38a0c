"""Label maps: decide, correct, merge, compare."""

import numpy as np
import pytest

from napari_prelabel.values.errors import ImageError
from napari_prelabel.values.labels import LabelMap, changes, decide, relabel
from napari_prelabel.values.vocabulary import Vocabulary

WORDS = Vocabulary.parse("a\nb\nc")


def label_map(ids, origin=(0, 0)):
    ids = np.asarray(ids, np.uint16)
    score = np.linspace(0, 1, ids.size).reshape(ids.shape).astype(np.float16)
    return LabelMap(ids, score, np.zeros_like(ids), WORDS, origin)


def test_decide_gives_best_and_second_class():
    scores = np.array([[[0.5, 0.1, 0.3]], [[0.2, 0.8, 0.3]], [[0.3, 0.0, 0.0]]])
    ids, score, second = decide(scores)
    assert ids.tolist() == [[1, 2, 1]]
    assert second.tolist() == [[3, 1, 2]]
    np.testing.assert_allclose(score, [[0.5, 0.8, 0.3]], atol=1e-3)


def test_decide_leaves_background_unlabelled_and_remembers_the_class_it_beat():
    scores = np.array([[[0.4, 0.6]], [[0.1, 0.0]]])
    ids, score, second = decide(scores, 1 - scores.max(0))
    assert ids.tolist() == [[0, 1]]
    assert second.tolist() == [[1, 0]]
    np.testing.assert_allclose(score, [[0.6, 0.6]], atol=1e-3)


def test_decide_matches_a_sort_on_random_scores():
    scores = np.random.default_rng(0).random((7, 5, 6))
    ids, score, second = decide(scores)
    order = np.argsort(-scores, axis=0)
    np.testing.assert_array_equal(ids, order[0] + 1)
    np.testing.assert_array_equal(second, order[1] + 1)
    np.testing.assert_allclose(score, scores.max(0), atol=1e-3)


@pytest.mark.parametrize("writeable", [True, False])
@pytest.mark.parametrize("count", [1, 2, 9, 300])
def test_decide_is_the_same_wherever_the_classes_lie_in_memory(count, writeable):
    rng = np.random.default_rng(count)
    # Few levels, so that many classes are equal, and pixels that no class holds.
    apart = (rng.integers(0, 5, (count, 13, 11)) / 4).astype(np.float32)
    apart[:, 2:5, 3:9] = 0
    beside = np.moveaxis(np.moveaxis(apart, 0, -1).copy(), -1, 0)
    beside.flags.writeable = writeable
    for background in (None, 1 - apart.max(0)):
        for one, other in zip(decide(apart, background), decide(beside, background), strict=True):
            assert one.dtype == other.dtype
            np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(beside, apart)


def test_decide_finds_no_runner_up_where_no_class_has_a_score():
    _, _, second = decide(np.zeros((2, 1, 3)))
    assert not second.any()
    ids, _, second = decide(np.zeros((2, 1, 3)), np.ones((1, 3)))
    assert not ids.any()
    assert not second.any()


def test_decide_with_one_class():
    ids, _, second = decide(np.zeros((1, 2, 3)))
    assert (ids == 1).all()
    assert not second.any()


def test_shapes_of_a_label_map_must_agree():
    with pytest.raises(ImageError, match="one shape"):
        LabelMap(
            np.zeros((2, 3), np.uint16),
            np.zeros((3, 2), np.float16),
            np.zeros((2, 3), np.uint16),
            WORDS,
        )


def test_counts_and_confidence():
    m = label_map([[0, 1, 1], [3, 3, 3]])
    assert m.counts() == {0: 1, 1: 2, 2: 0, 3: 3}
    assert m.above(0.5).tolist() == [[0, 0, 0], [3, 3, 3]]


def test_changes_are_counted_largest_first():
    before = np.array([[1, 1, 2, 2, 2]], np.uint16)
    after = np.array([[1, 3, 1, 1, 2]], np.uint16)
    assert changes(before, after) == {(2, 1): 2, (1, 3): 1}
    assert changes(before, before) == {}
    with pytest.raises(ImageError, match="cannot be compared"):
        changes(before, before[:, :2])


def test_relabel_swaps_at_once():
    ids = np.array([[1, 2, 65535]], np.uint16)
    assert relabel(ids, {1: 2, 2: 1}).tolist() == [[2, 1, 65535]]


def test_nothing_is_labelled_where_there_is_no_picture():
    ids = np.array([[1, 2], [3, 1]], np.uint16)
    found = LabelMap(ids, np.ones((2, 2), np.float16), ids.copy(), WORDS, origin=(1, 2))
    valid = np.ones((5, 5), bool)
    valid[1, 3] = valid[0, 0] = False
    blanked = found.only(valid)
    for part in (blanked.ids, blanked.runner_up, blanked.score):
        assert part[0, 1] == 0
        assert part[0, 0] != 0
    assert blanked.ids.dtype == np.uint16
    assert blanked.score.dtype == np.float16
    assert found.only(None) is found

"""Working on large planes strip by strip, and counting by runs, changes no answer."""

from collections import Counter

import numpy as np
import pytest

from napari_prelabel.annotation import strips as strips_module
from napari_prelabel.annotation.annotation import Annotation
from napari_prelabel.annotation.strips import below, strips_of
from napari_prelabel.annotation.tally import histogram, pairs_of
from napari_prelabel.gui.run.session import _strips
from napari_prelabel.values.labels import LabelMap
from napari_prelabel.values.vocabulary import Vocabulary

WORDS = Vocabulary.parse("sky\nsea\nsand\nstone")
SHAPE = (37, 29)


@pytest.fixture
def small_strips(monkeypatch):
    monkeypatch.setattr(strips_module, "LARGE", 100)
    monkeypatch.setattr(strips_module, "STRIP", 64)


def answer(rng, shape=SHAPE):
    def ids():
        return rng.integers(0, 5, shape).astype(np.uint16)

    return LabelMap(ids(), rng.random(shape).astype(np.float16), ids(), WORDS, notices=("a",))


def arrays(notes):
    return notes.model, notes.score, notes.shown, notes.provenance


def paint(notes, rng):
    """A stroke of a person, at random."""
    y, x = rng.integers(0, 20, 2)
    box = np.s_[y : y + 9, x : x + 9]
    ids = notes.shown[box].copy()
    ids[rng.random(ids.shape) < 0.5] = 3
    notes.painted(ids, box)


def test_strips_cover_a_plane_once(small_strips):
    for height, width in ((1, 1), (37, 29), (300, 1), (1, 300), (5, 1000)):
        seen = np.zeros(height, int)
        for part in strips_of(height, width):
            seen[part] += 1
        assert (seen == 1).all()
    assert strips_of(10, 10) == [slice(0, 10)]
    assert len(strips_of(37, 29)) > 10


@pytest.mark.parametrize("seed", range(8))
def test_an_answer_put_strip_by_strip_is_the_answer_put_whole(small_strips, seed):
    rng = np.random.default_rng(seed)
    plain, parts = Annotation(SHAPE, WORDS), Annotation(SHAPE, WORDS)
    for _ in range(3):
        state = rng.bit_generator.state
        for notes in (plain, parts):
            rng.bit_generator.state = state
            paint(notes, rng)
        found, locked = answer(rng), ("sea",) if rng.random() < 0.5 else ()
        overwrite, threshold = bool(rng.random() < 0.3), float(rng.random())
        whole = plain.put(plain.begin(), found, locked=locked, overwrite=overwrite)
        step, changed = parts.begin(), Counter()
        for part in _strips(found):
            changed.update(parts.put(step, part, locked=locked, overwrite=overwrite))
        assert dict(changed) == whole
        for notes in (plain, parts):
            notes.blank_below(threshold)
        for a, b in zip(arrays(plain), arrays(parts), strict=True):
            np.testing.assert_array_equal(a, b)
        assert plain.counts() == parts.counts()
        assert plain.human_pixels() == parts.human_pixels() == (plain.provenance != 0).sum()
    assert plain.undo_run()
    assert parts.undo_run()
    np.testing.assert_array_equal(plain.shown, parts.shown)


def test_parts_of_an_answer_say_what_the_whole_says(small_strips):
    found = answer(np.random.default_rng(0))
    parts = _strips(found)
    assert len(parts) > 10
    for name in ("ids", "score", "runner_up"):
        np.testing.assert_array_equal(
            np.concatenate([getattr(p, name) for p in parts]), getattr(found, name)
        )
    assert [p.origin[0] for p in parts] == [s.start for s in strips_of(*SHAPE)]
    assert {p.notices for p in parts} == {("a",)}


def test_the_slider_brings_strips_of_the_plane_in_view_first(small_strips):
    rng = np.random.default_rng(1)
    stack, plain = Annotation((3, *SHAPE), WORDS), Annotation((3, *SHAPE), WORDS)
    for notes in (stack, plain):
        rng = np.random.default_rng(1)
        for plane in range(3):
            notes.put(notes.begin(), answer(rng), (plane,))
    plain.blank_below(0.5)
    stack.blank_below(0.5, (1,))
    order = []
    while stack.waiting:
        order.append(stack.catch_up())
    assert [box[0] for box in order[: len(strips_of(*SHAPE))]] == [1] * len(strips_of(*SHAPE))
    assert [box[1].start for box in order[:2]] == [0, strips_of(*SHAPE)[1].start]
    np.testing.assert_array_equal(stack.shown, plain.shown)
    assert stack.counts() == plain.counts()


@pytest.mark.parametrize("threshold", [0.01, 0.25, 0.5, 1.0])
def test_scores_compare_by_their_bits(threshold):
    score = np.r_[np.linspace(0, 1, 999), -0.0, threshold, np.nan].astype(np.float16)
    np.testing.assert_array_equal(below(score, threshold), score < np.float16(threshold))


@pytest.mark.parametrize("side", [1, 3, 40])
def test_counting_by_runs_is_counting_by_pixels(side):
    rng = np.random.default_rng(side)
    before, after = (
        rng.integers(0, 300, (40, 60)).astype(np.uint16).repeat(side, 0).repeat(side, 1)
        for _ in range(2)
    )
    after[:50] = before[:50]
    np.testing.assert_array_equal(histogram(before), np.bincount(before.ravel(), minlength=65536))
    differ = before != after
    pairs = Counter(zip(before[differ].tolist(), after[differ].tolist(), strict=True))
    assert pairs_of(before, after) == dict(pairs)

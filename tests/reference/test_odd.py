"""Segments unlike the others of their word, against a float64 re-typing and by hand."""

import time
from dataclasses import replace

import numpy as np
import pytest

from napari_prelabel.reference.odd import FEWEST, deviations, odd_ones
from napari_prelabel.reference.store import ReferenceSet
from napari_prelabel.reference.values import Metric

from reference_sets import ENCODER, WIDTH, addition  # isort: skip


def near(count, seed=0, spread=0.05):
    """Unit rows around the first axis, (count, WIDTH)."""
    rows = np.eye(WIDTH)[0] + np.random.default_rng(seed).normal(0, spread, (count, WIDTH))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def set_of(folder, rows, words, origin="correction"):
    held = ReferenceSet.create(folder, ENCODER)
    told = addition("image", *words)
    segments = tuple(replace(s, origin=origin, area=6, box=(0, 0, 4, 5)) for s in told.segments)
    held.add([replace(told, embeddings=rows, segments=segments)])
    return held


@pytest.fixture
def mixed():
    """Twenty trees, of which number 7 looks like something else, and three skies."""
    rows = np.concatenate([near(20), near(3, 1)])
    rows[7] = np.eye(WIDTH, dtype=np.float32)[3]
    return rows, [("tree",)] * 20 + [("sky",)] * 3


def test_the_slip_is_found_and_words_with_few_segments_are_left_alone(tmp_path, mixed):
    held = set_of(tmp_path / "s", *mixed)
    (odd, *_) = odd_ones(held)
    assert (odd.row, odd.word) == (7, "tree")
    assert odd.score > 10
    assert all(o.word == "tree" for o in odd_ones(held, least=-100.0))
    assert FEWEST > 3


def test_what_is_switched_off_is_not_told_again(tmp_path, mixed):
    held = set_of(tmp_path / "s", *mixed)
    held.switch([7], False)
    assert 7 not in {o.row for o in odd_ones(held)}


def test_only_the_annotators_own_segments_are_judged(tmp_path, mixed):
    assert odd_ones(set_of(tmp_path / "s", *mixed, origin="caption")) == ()


def test_no_more_than_asked_for_and_the_oddest_first(tmp_path):
    rows = near(40)
    rows[[3, 5, 9]] = [np.eye(WIDTH)[1], -np.eye(WIDTH)[0], np.eye(WIDTH)[2]]
    found = odd_ones(set_of(tmp_path / "s", rows, [("tree",)] * 40), count=2)
    assert found[0].row == 5
    assert len(found) == 2
    assert found[0].score >= found[1].score


def test_distances_are_those_of_the_sets_metric(tmp_path, mixed):
    """A metric that forgets the axis on which row 7 differs finds nothing odd in it."""
    held = set_of(tmp_path / "s", *mixed)
    matrix = np.eye(WIDTH, dtype=np.float32)[:, :1]
    held.put_metric(Metric(np.full(WIDTH, -1, np.float32) * 5, matrix))
    assert 7 not in {o.row for o in odd_ones(held)}


def test_deviations_against_float64():
    rows = near(31, 4, 0.4)
    centre = np.median(rows.astype(np.float64), axis=0)
    distance = 1 - rows.astype(np.float64) @ (centre / np.sqrt((centre**2).sum()))
    beyond = distance - np.median(distance)
    expected = beyond / (1.4826 * np.median(np.abs(beyond)))
    np.testing.assert_allclose(deviations(rows), expected, rtol=1e-4, atol=1e-5)


def test_equal_segments_deviate_by_nothing():
    assert not deviations(np.repeat(near(1), 9, axis=0)).any()


def test_very_many_words_take_no_time_each(tmp_path):
    """Looking through all pairs for every word would take minutes."""
    words = [(f"word {i % 4000}",) for i in range(40_000)]
    rows = near(len(words))
    told = addition("image", *words[:1])
    segment, picture = told.segments[0], told.thumbnails[0]
    held = ReferenceSet.create(tmp_path / "many", ENCODER)
    segments = tuple(replace(segment, words=told) for told in words)
    held.add([replace(told, embeddings=rows, segments=segments, thumbnails=(picture,) * len(rows))])
    start = time.perf_counter()
    odd_ones(held)
    assert time.perf_counter() - start < 30

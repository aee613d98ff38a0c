"""Cleaning on hand-made groups: what goes, what comes, and that each step can be left away."""

from dataclasses import replace

import numpy as np
import pytest
from reference_sets import ENCODER, WIDTH, addition, digest

from napari_prelabel.methods.pairs import SIMILARITY
from napari_prelabel.reference.clean import clean
from napari_prelabel.reference.store import ReferenceSet
from napari_prelabel.reference.values import Metric
from napari_prelabel.values.errors import JobError
from napari_prelabel.values.retrieval import Cleaning

OFF = Cleaning(outliers="off", synonyms="off")
ROWS = {"scene": (1, 0), "tree": (0, 1), "oak": (0.05, 1), "car": (-1, 0.2), "bus": (-1, -0.2)}


def text(words):
    rows = np.array([ROWS[word] for word in words], np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def unit(*numbers):
    row = np.zeros(WIDTH, np.float32)
    row[: len(numbers)] = numbers
    return row / np.linalg.norm(row)


@pytest.fixture
def held(tmp_path):
    """Twelve scenes; of five trees the last, of four red cars none, looks like nothing else."""
    found = ReferenceSet.create(tmp_path / "set", ENCODER)
    words = [("scene",)] * 3 + [("scene", "tree")] * 5 + [("scene", "red car")] * 4 + [("oak",)]
    roots = [tuple(w.removeprefix("red ") for w in told) for told in words]
    rows = [unit(0, 0, 1)] * 3
    rows += [unit(1, 0.1 * i) for i in range(4)] + [unit(-1, 1)]
    rows += [unit(0, 1, 0, 0.1 * i) for i in range(4)] + [unit(0, 0, 0, 0, 1)]
    given = addition("a", *words)
    segments = tuple(replace(s, roots=r) for s, r in zip(given.segments, roots, strict=True))
    found.add([replace(given, embeddings=np.stack(rows), segments=segments)])
    return found


def words(held, row):
    return held.records([row])[0].words


def test_general_words_go_and_may_be_kept(held):
    done = clean(held, replace(OFF, abstract=True))
    assert (done.abstract, done.dropped_abstract, done.dropped) == (("scene",), 12, 12)
    assert words(held, 0) == ()
    assert words(held, 3) == ("tree",)
    assert held.records([3])[0].dropped == (("scene", "abstract"),)
    assert held.links(abstract=False).toarray()[0].any()
    done = clean(held, replace(OFF, abstract=True, keep=("Scene",)))
    assert (done.abstract, done.dropped) == ((), 0)
    assert words(held, 3) == ("scene", "tree")


def test_the_farthest_of_every_group_go(held):
    done = clean(held, replace(OFF, outliers="fixed", drop=0.3, keep=("scene",)))
    assert done.dropped_outliers == 2  # of 5 trees and of 4 cars one each; of one oak none
    assert words(held, 7) == ("scene",)
    assert held.records([7])[0].dropped == (("tree", "outlier"),)
    assert [("tree" in words(held, row)) for row in range(3, 7)] == [True] * 4
    assert held.links(outliers=False)[[7]].nnz == 2
    assert {s.word: s.dropped for s in held.class_stats()}["tree"] == 1


def test_outliers_are_those_of_the_rows_that_the_metric_compares(held):
    """Along the second axis alone the last tree is no outlier any more, and the fourth is."""
    matrix = np.zeros((WIDTH, 2), np.float32)
    matrix[1, 0] = matrix[2, 1] = 1
    mean = unit(0, 1) * 0.15
    held.put_metric(Metric(mean, matrix))
    trees = np.stack([unit(1, 0.1 * i) for i in range(4)] + [unit(-1, 1)]).astype(np.float64)
    moved = (trees - mean) @ matrix
    moved /= np.linalg.norm(moved, axis=1, keepdims=True)
    middle = np.median(moved, axis=0)
    expected = 3 + int(np.argmin(moved @ (middle / np.linalg.norm(middle))))
    clean(held, replace(OFF, outliers="fixed", drop=0.3, keep=("scene", "red car")))
    gone = [row for row in range(3, 8) if "tree" not in words(held, row)]
    assert gone == [expected]
    assert expected != 7  # which is the one that lies farthest in the rows as they are stored
    held.put_metric(None)
    clean(held, replace(OFF, outliers="fixed", drop=0.3, keep=("scene", "red car")))
    assert "tree" not in words(held, 7)


def test_adaptive_rates_drop_more_of_mixed_groups(held):
    done = clean(held, replace(OFF, outliers="adaptive", keep=("scene",)))
    trees = sum("tree" in words(held, row) for row in range(3, 8))
    cars = sum("red car" in words(held, row) for row in range(8, 12))
    assert (trees, cars) == (4, 4)
    assert done.dropped_outliers == 1


@pytest.mark.parametrize(
    ("reading", "k", "pairs"),
    [
        ("neighbours", 2, {("tree", "oak"), ("car", "bus")}),
        ("global", 1, {("tree", "oak")}),
        ("share", 20, {("tree", "oak"), ("car", "bus")}),
        ("off", 30, set()),
    ],
)
def test_synonyms_in_three_readings(held, reading, k, pairs):
    held.add([addition("b", ("bus",))])
    done = clean(held, replace(OFF, synonyms=reading, k=k), text)
    assert set(done.synonyms) == pairs


def test_synonyms_are_as_alike_as_asked_for(held):
    held.add([addition("b", ("bus",))])
    usual = clean(held, replace(OFF, synonyms="neighbours"), text)
    assert usual.settings.similarity == SIMILARITY == 0.9
    assert held.cleaned.settings.similarity == 0.9
    strict = clean(held, replace(OFF, synonyms="neighbours", similarity=1.0), text)
    assert len(strict.synonyms) < len(usual.synonyms)


def test_modifiers_stay_with_the_other_root(held):
    held.add([addition("b", ("bus",))])
    done = clean(held, replace(OFF, synonyms="neighbours"), text)
    # 5 trees become oaks, 1 oak a tree, 4 red cars red buses, 1 bus a car
    assert done.added == 11
    assert words(held, 8) == ("scene", "red car", "red bus")
    assert words(held, 12) == ("tree", "oak")
    assert next(e for e in held.labels() if e.phrase == "red bus").root == "bus"
    assert not held.links(synonyms=False)[[8]].toarray()[0, -2:].any()
    assert {s.word: s.synonyms for s in held.class_stats()}["tree"] == ("oak",)


def test_words_that_were_dropped_find_no_synonyms(held):
    done = clean(held, replace(OFF, abstract=True, synonyms="global", k=100), text)
    assert all("scene" not in pair for pair in done.synonyms)


def test_without_a_text_model_words_are_not_enriched(held):
    assert clean(held, replace(OFF, synonyms="global")).added == 0


def test_cleaning_can_be_undone_and_replaced(held):
    raw = held.links().toarray()
    clean(held, Cleaning(abstract=True), text)
    assert held.cleaned.settings == Cleaning(abstract=True, similarity=SIMILARITY)
    held.undo()
    np.testing.assert_array_equal(held.links().toarray(), raw)
    clean(held, Cleaning(abstract=True), text)
    clean(held, OFF)
    np.testing.assert_array_equal(held.links().toarray(), raw)


def test_marks_stay_with_their_segments_when_rows_move(held):
    held.add([addition("b", ("bus",))])
    clean(held, replace(OFF, outliers="fixed", keep=("scene",)))
    gone = words(held, 7)
    held.remove([digest("b")])
    held.add([addition("c", ("bus",))])
    row = int(held.image_rows(digest("a"))[7])
    assert words(held, row) == gone == ("scene",)
    assert words(held, held.image_rows(digest("c"))[0]) == ("bus",)


def test_marks_follow_the_segments_of_an_image_that_is_replaced(held):
    clean(held, replace(OFF, outliers="fixed", synonyms="neighbours", keep=("scene",)), text)
    held.switch([2], False)
    gone, named = words(held, 7), words(held, 12)
    assert (gone, named) == (("scene",), ("tree", "oak"))
    given = next(held._now.shards[0].additions())
    turned = replace(
        given,
        segments=given.segments[::-1],
        embeddings=np.asarray(given.embeddings[::-1], np.float32),
    )
    held.add([turned])
    assert words(held, 12 - 7) == gone
    assert set(words(held, 0)) == set(named)
    assert [r.enabled for r in held.records(range(13))].index(False) == 12 - 2
    drawn_anew = addition("a", *[("sky",)] * 13)
    held.add([drawn_anew])
    assert {words(held, row) for row in range(13)} == {("sky",)}
    held.undo()
    assert words(held, 12 - 7) == gone


def test_segments_switched_off_have_no_say(held):
    held.switch(range(3, 8), False)
    done = clean(held, replace(OFF, outliers="fixed", keep=("scene",)))
    assert done.dropped_outliers == 1


def test_an_empty_set_is_clean(tmp_path):
    found = ReferenceSet.create(tmp_path / "empty", ENCODER)
    done = clean(found, Cleaning(abstract=True), text)
    assert (done.dropped, done.added, done.abstract) == (0, 0, ())


@pytest.mark.parametrize("fault", [{"drop": 1.5}, {"drop": -0.1}, {"similarity": 2.0}, {"k": -1}])
def test_settings_out_of_range(fault):
    name = next(iter(fault))
    with pytest.raises(JobError, match=rf"cleaning\.{name} must lie between"):
        replace(Cleaning(), **fault)

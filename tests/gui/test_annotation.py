"""The numbers behind a result layer, without napari."""

import numpy as np
import pytest

from napari_prelabel.gui.annotation import Annotation, carry
from napari_prelabel.labels import HUMAN, LabelMap
from napari_prelabel.vocabulary import Vocabulary

ABC = Vocabulary.parse("a\nb\nc")
EVERYTHING = (slice(None), slice(None))


def found(ids, vocabulary=ABC, score=None, origin=(0, 0)) -> LabelMap:
    ids = np.asarray(ids, np.uint16)
    score = np.ones(ids.shape) if score is None else np.asarray(score)
    return LabelMap(ids, score.astype(np.float16), np.zeros_like(ids), vocabulary, origin)


def put(annotation, result, **how):
    step = annotation.begin()
    changed = annotation.put(step, result, **how)
    annotation.finish(step, result.vocabulary, {})
    return changed


def paint(annotation, data, where, label):
    """What the layer does for a stroke."""
    data[where] = label
    annotation.painted(data, EVERYTHING)


@pytest.fixture
def annotation():
    made = Annotation((2, 3), ABC)
    put(made, found([[1, 1, 2], [2, 3, 3]]))
    return made


def test_a_run_replaces_the_run_before_and_tells_what_changed(annotation):
    changed = put(annotation, found([[1, 2, 2], [2, 2, 3]]))
    assert annotation.shown.tolist() == [[1, 2, 2], [2, 2, 3]]
    assert changed == {(1, 2): 1, (3, 2): 1}


def test_a_run_never_writes_over_painted_pixels(annotation):
    data = annotation.shown.copy()
    paint(annotation, data, (0, 0), 3)
    put(annotation, found([[2, 2, 2], [2, 2, 2]]))
    assert annotation.shown.tolist() == [[3, 2, 2], [2, 2, 2]]
    assert annotation.provenance[0, 0] == HUMAN
    put(annotation, found([[1, 1, 1], [1, 1, 1]]), overwrite=True)
    assert (annotation.shown == 1).all()
    annotation.undo_run()
    assert annotation.shown.tolist() == [[3, 2, 2], [2, 2, 2]]
    assert annotation.provenance[0, 0] == HUMAN


def test_an_erased_pixel_is_the_persons_too(annotation):
    data = annotation.shown.copy()
    paint(annotation, data, (1, 1), 0)
    put(annotation, found(np.full((2, 3), 2)))
    assert annotation.shown[1, 1] == 0


def test_locked_classes_keep_their_pixels(annotation):
    put(annotation, found([[3, 3, 3], [3, 3, 3]]), locked=["B"])
    assert annotation.shown.tolist() == [[3, 3, 2], [2, 3, 3]]


def test_undo_run_is_one_step_back_to_labels_scores_and_provenance(annotation):
    before = annotation.shown.copy(), annotation.score.copy(), annotation.provenance.copy()
    put(annotation, found([[3, 3, 3], [3, 3, 3]], score=np.full((2, 3), 0.5)))
    assert annotation.undo_run()
    after = annotation.shown, annotation.score, annotation.provenance
    for a, b in zip(before, after, strict=True):
        np.testing.assert_array_equal(a, b)
    assert annotation.undo_run()
    assert not annotation.shown.any()
    assert not annotation.undo_run()


def test_undo_run_keeps_strokes_made_after_it(annotation):
    put(annotation, found([[3, 3, 3], [3, 3, 3]]))
    data = annotation.shown.copy()
    paint(annotation, data, (0, 2), 1)
    annotation.undo_run()
    assert annotation.shown.tolist() == [[1, 1, 1], [2, 3, 3]]


def test_the_slider_blanks_and_restores_but_never_painted_pixels(annotation):
    put(annotation, found([[1, 2, 3], [1, 2, 3]], score=[[0.1, 0.5, 0.9], [0.1, 0.5, 0.9]]))
    data = annotation.shown.copy()
    paint(annotation, data, (0, 0), 2)
    annotation.blank_below(0.6)
    assert annotation.shown.tolist() == [[2, 0, 3], [0, 0, 3]]
    annotation.blank_below(0.0)
    assert annotation.shown.tolist() == [[2, 2, 3], [1, 2, 3]]


def test_ids_follow_their_names_when_the_words_change(annotation):
    data = annotation.shown.copy()
    paint(annotation, data, (0, 0), 3)  # c
    new = Vocabulary.parse("x\nc\na")
    put(annotation, found([[1, 1, 1], [1, 1, 1]], new))
    assert annotation.vocabulary.names == ("x", "c", "a")
    assert annotation.shown[0, 0] == 2
    annotation.undo_run()
    assert annotation.vocabulary.names == ("a", "b", "c")
    assert annotation.shown.tolist() == [[3, 1, 2], [2, 3, 3]]


def test_a_word_that_is_gone_stays_while_painted_pixels_need_it(annotation):
    data = annotation.shown.copy()
    paint(annotation, data, (0, 0), 2)  # b
    put(annotation, found([[1, 1, 1], [1, 1, 1]], Vocabulary.parse("x\ny: b")))
    assert annotation.vocabulary.names == ("x", "y", "b (kept)")
    assert annotation.shown.tolist() == [[3, 1, 1], [1, 1, 1]]
    assert annotation.vocabulary.classes[2].rgb == ABC.classes[1].rgb
    assert annotation.counts() == {"": 0, "x": 5, "y": 0, "b (kept)": 1}


def test_unnamed_labels_get_a_name(annotation):
    data = annotation.shown.copy()
    paint(annotation, data, (0, 0), 99)
    ids, vocabulary = annotation.named()
    assert vocabulary.names == ("a", "b", "c", "label 99")
    assert ids[0, 0] == 4
    put(annotation, found([[1, 1, 1], [1, 1, 1]]))
    assert annotation.shown[0, 0] == 4


def test_strokes_are_undone_and_redone_with_their_provenance(annotation):
    data = annotation.shown.copy()
    paint(annotation, data, (0, 0), 2)
    paint(annotation, data, (0, slice(0, 2)), 3)
    data[0, :2] = [2, 1]  # napari's undo
    annotation.stroke_undone(data)
    assert annotation.provenance[0].tolist() == [HUMAN, 0, 0]
    assert annotation.shown[0].tolist() == [2, 1, 2]
    data[0, :2] = 3
    annotation.stroke_redone(data)
    assert annotation.provenance[0].tolist() == [HUMAN, HUMAN, 0]
    assert annotation.shown[0].tolist() == [3, 3, 2]


def test_a_freed_pixel_shows_the_model_at_the_present_threshold(annotation):
    put(annotation, found([[1, 1, 1], [1, 1, 1]], score=np.full((2, 3), 0.3)))
    data = annotation.shown.copy()
    paint(annotation, data, (0, 0), 3)
    annotation.blank_below(0.5)
    data = annotation.shown.copy()
    data[0, 0] = 1  # what napari remembers is stale
    annotation.stroke_undone(data)
    assert annotation.shown[0, 0] == 0


def test_what_others_wrote_into_the_layer_is_kept(annotation):
    data = annotation.shown.copy()
    data[1, 2] = 1
    assert annotation.found_different(data)
    assert not annotation.found_different(data)
    put(annotation, found(np.full((2, 3), 2)))
    assert annotation.shown[1, 2] == 1


@pytest.mark.parametrize("follow", ["stroke_undone", "stroke_redone"])
def test_an_undo_we_did_not_see_the_stroke_of_loses_nothing(annotation, follow):
    data = annotation.shown.copy()
    data[0, 0] = 2
    getattr(annotation, follow)(data)
    assert annotation.shown[0, 0] == 2
    assert annotation.provenance[0, 0] == HUMAN


def test_a_region_touches_nothing_outside(annotation):
    put(annotation, found([[3]], origin=(0, 1)))
    assert annotation.shown.tolist() == [[1, 3, 2], [2, 3, 3]]


def test_planes_of_a_stack_are_one_step():
    annotation = Annotation((2, 1, 2), ABC)
    step = annotation.begin()
    annotation.put(step, found([[1, 2]]), (0,))
    annotation.put(step, found([[3, 3]]), (1,))
    annotation.finish(step, ABC, {})
    assert annotation.shown.tolist() == [[[1, 2]], [[3, 3]]]
    annotation.undo_run()
    assert not annotation.shown.any()


def test_undo_after_words_changed_in_one_plane_restores_the_others():
    annotation = Annotation((2, 1, 2), ABC)
    step = annotation.begin()
    for plane in (0, 1):
        annotation.put(step, found([[1, 3]]), (plane,))
    before = annotation.shown.copy()
    new = Vocabulary.parse("c\nz")
    step = annotation.begin()
    annotation.put(step, found([[2, 2]], new), (0,))
    annotation.finish(step, new, {})
    assert annotation.vocabulary.names == ("c", "z", "a")
    assert annotation.shown.tolist() == [[[2, 2]], [[3, 1]]]
    annotation.undo_run()
    np.testing.assert_array_equal(annotation.shown, before)
    assert annotation.vocabulary == ABC


def test_carry_keeps_the_meaning_of_every_used_id():
    rng = np.random.default_rng(0)
    words = list("abcdefgh")
    for _ in range(50):
        old = Vocabulary.parse("\n".join(rng.permutation(words)[:5]))
        new = Vocabulary.parse("\n".join(rng.permutation(words)[:4]))
        used = {int(i) for i in rng.integers(0, 6, 4)}
        joined, mapping = carry(old, new, used)
        assert joined.names[: len(new.names)] == new.names
        for i in used - {0}:
            assert joined.names[mapping.get(i, i) - 1] == old.names[i - 1]

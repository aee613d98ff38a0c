"""The numbers behind a result layer, without napari."""

import numpy as np
import pytest

from napari_prelabel.annotation.annotation import Annotation, carry
from napari_prelabel.annotation.tally import Tally, pairs_of
from napari_prelabel.values.labels import HUMAN, LabelMap
from napari_prelabel.values.vocabulary import Vocabulary

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
    assert changed == {("a", "b"): 1, ("c", "b"): 1}


def test_changes_name_classes_that_are_gone_and_see_through_equal_ids(annotation):
    changed = put(annotation, found([[1, 1, 0], [0, 2, 2]], Vocabulary.parse("x\nc")))
    assert changed == {("a", "x"): 2, ("b", ""): 2}


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
    data[0, 1] = 65535
    paint(annotation, data, (0, 0), 99)
    ids, vocabulary = annotation.named()
    assert vocabulary.names == annotation.vocabulary.names == ("a", "b", "c", "label 99")
    assert ids[0, :2].tolist() == [4, 65535]
    paint(annotation, annotation.shown.copy(), (1, 0), 99)
    assert annotation.vocabulary.names[4:] == ("label 99 (2)",)
    annotation.undo(annotation.history.next_undo)
    put(annotation, found([[1, 1, 1], [1, 1, 1]]))
    assert annotation.shown[0, 0] == 4


def test_strokes_are_undone_and_redone_with_their_provenance(annotation):
    data = annotation.shown.copy()
    paint(annotation, data, (0, 0), 2)
    paint(annotation, data, (0, slice(0, 2)), 3)
    annotation.undo(annotation.history.next_undo)
    assert annotation.provenance[0].tolist() == [HUMAN, 0, 0]
    assert annotation.shown[0].tolist() == [2, 1, 2]
    annotation.redo(annotation.history.next_redo)
    assert annotation.provenance[0].tolist() == [HUMAN, HUMAN, 0]
    assert annotation.shown[0].tolist() == [3, 3, 2]


def test_a_freed_pixel_shows_the_model_at_the_present_threshold(annotation):
    put(annotation, found([[1, 1, 1], [1, 1, 1]], score=np.full((2, 3), 0.3)))
    data = annotation.shown.copy()
    paint(annotation, data, (0, 0), 3)
    annotation.blank_below(0.5)
    annotation.undo(annotation.history.next_undo)
    assert annotation.shown[0, 0] == 0


def test_what_others_wrote_into_the_layer_is_kept(annotation):
    data = annotation.shown.copy()
    data[1, 2] = 1
    assert annotation.found_different(data)
    assert not annotation.found_different(data)
    put(annotation, found(np.full((2, 3), 2)))
    assert annotation.shown[1, 2] == 1


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


def test_a_step_that_was_undone_starts_anew():
    notes = Annotation((2, 1, 2), ABC)
    put(notes, found([[1, 1]]), plane=(1,))
    step = notes.begin()
    new = Vocabulary.parse("z\na")
    notes.put(step, found([[1, 1]], new), (0,))
    notes.undo_run()
    notes.put(step, found([[1, 1]], new), (0,))
    assert notes.vocabulary.names == ("z", "a")
    assert notes.shown.tolist() == [[[1, 1]], [[2, 2]]]
    notes.undo_run()
    assert notes.vocabulary == ABC
    assert notes.shown.tolist() == [[[0, 0]], [[1, 1]]]


def test_two_runs_that_take_turns_are_undone_in_their_order():
    notes = Annotation((2, 1, 2), ABC)
    new = Vocabulary.parse("z\na")
    one, two = notes.begin(), notes.begin()
    notes.put(one, found([[1, 2]]), (0,))
    notes.put(two, found([[1, 1]], new), (0,))
    notes.put(one, found([[3, 3]]), (1,))
    assert [notes.name_of(i) for i in notes.shown[0, 0]] == ["z", "z"]
    assert [notes.name_of(i) for i in notes.shown[1, 0]] == ["c", "c"]
    notes.undo_run()
    notes.undo_run()
    assert notes.shown.tolist() == [[[1, 2]], [[0, 0]]]
    assert notes.vocabulary == ABC


def test_facts_go_back_with_the_run():
    notes = Annotation((1, 2), ABC)
    for run in (1, 2):
        step = notes.begin()
        notes.put(step, found([[1, 2]]))
        notes.finish(step, ABC, {"run": run})
    notes.undo_run()
    assert notes.facts == {"run": 1}
    notes.finish(step, ABC, {"run": 2})
    assert notes.facts == {"run": 1}


def test_whatever_happens_the_persons_pixels_keep_their_class_and_the_counts_are_right():
    for seed in range(40):
        moves = _Moves(np.random.default_rng(seed))
        for _ in range(25):
            moves.one()
            moves.check()


class _Moves:
    """Random runs, strokes, undos and slider moves; remembers what the person decided."""

    def __init__(self, rng):
        self.rng = rng
        self.notes = Annotation((2, 3, 4), ABC)
        self.mine = {}  # pixel -> class name

    def one(self):
        rng, notes = self.rng, self.notes
        move = rng.integers(0, 6)
        if move < 2:
            words = list(rng.permutation(list("abcdef"))[: rng.integers(1, 5)])
            extra = ["x: " + words.pop()] if len(words) > 2 else []
            vocabulary = Vocabulary.parse("\n".join([*words, *extra]))
            step = notes.begin()
            for plane in rng.permutation(2)[: rng.integers(1, 3)]:
                ids = rng.integers(0, len(vocabulary.classes) + 1, (2, 3))
                result = found(ids, vocabulary, rng.random((2, 3)), (rng.integers(0, 2), 1))
                notes.put(step, result, (int(plane),))
            notes.finish(step, vocabulary, {})
        elif move == 2:
            notes.undo_run()
        elif move == 3:
            notes.blank_below(float(rng.random()))
        else:
            box = (slice(int(rng.integers(0, 2)), 2), slice(1, 3), slice(0, 2))
            label = int(rng.integers(0, len(notes.vocabulary.classes) + 1))
            notes.painted(
                np.full_like(notes.shown[box], label),
                box,
                np.ones((2, 2), bool) | (notes.shown[box] > 0),
            )
            for pixel in np.ndindex(notes.shown.shape):
                if all(s.start <= i < s.stop for s, i in zip(box, pixel, strict=True)):
                    self.mine[pixel] = notes.name_of(label)

    def check(self):
        notes = self.notes
        for pixel, name in self.mine.items():
            assert notes.name_of(int(notes.shown[pixel])).removesuffix(" (kept)") == (
                name.removesuffix(" (kept)")
            )
        assert notes.human_pixels() == len(self.mine)
        assert notes.shown.max() <= len(notes.vocabulary.classes)
        assert notes.model.max() <= len(notes.vocabulary.classes)
        plain = np.bincount(notes.shown.ravel(), minlength=len(notes.vocabulary.classes) + 1)
        assert list(notes.counts().values()) == plain.tolist()
        known = np.bincount(notes.model.ravel(), minlength=65536)
        np.testing.assert_array_equal(notes._model.counts, known)


@pytest.mark.parametrize("most", [3, 600])
def test_pairs_are_counted_as_one_by_one(most):
    rng = np.random.default_rng(most)
    before, after = rng.integers(0, most, (2, 7, 11)).astype(np.uint16)
    plain = {}
    for a, b in zip(before.ravel().tolist(), after.ravel().tolist(), strict=True):
        if a != b:
            plain[a, b] = plain.get((a, b), 0) + 1
    pairs = pairs_of(before, after)
    assert pairs == plain
    assert list(pairs.values()) == sorted(pairs.values(), reverse=True)
    tally = Tally(0)
    tally.add(before)
    tally.exchange(before, after)
    np.testing.assert_array_equal(tally.counts, np.bincount(after.ravel(), minlength=65536))

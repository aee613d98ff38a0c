"""Strokes, runs and the slider in any order: nothing of the person's is lost, undo is exact.

The oracle knows no masks that are handed on and no ids: it replays all that is done, by name.
"""

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from napari_prelabel.annotation import history as module
from napari_prelabel.annotation.annotation import Annotation
from napari_prelabel.annotation.history import Step, Stroke, plain
from napari_prelabel.values.labels import HUMAN, MODEL, LabelMap
from napari_prelabel.values.vocabulary import Vocabulary

SHAPE = (2, 3, 4)
LETTERS = "abcdef"
words = st.lists(st.sampled_from(LETTERS), min_size=1, max_size=4, unique=True)
seeds = st.integers(0, 2**32 - 1)


class Entry:
    """A stroke or a run of the oracle: what it did, moment by moment."""

    def __init__(self, run):
        self.run, self.done, self.moments = run, True, []


class Oracle:
    def __init__(self):
        self.entries, self.undone, self.passed, self.clock = [], [], 0, 0

    def add(self, entry):
        self.entries.append(entry)
        self.undone = [] if entry.run else [e for e in self.undone if e.run]
        self.passed = len(self.undone)

    def at(self, entry, act):
        self.clock += 1
        entry.moments.append((self.clock, act))

    def state(self):
        """Owner, the person's class, the model's class and its score of every pixel."""
        owner, mine = np.full(SHAPE, MODEL), np.full(SHAPE, "", object)
        model, score = np.full(SHAPE, "", object), np.zeros(SHAPE, np.float16)
        moments = [m for e in self.entries if e.done for m in e.moments]
        for _, act in sorted(moments, key=lambda m: m[0]):
            act(owner, mine, model, score)
        return owner, mine, model, score

    def undoable(self):
        done = [e for e in self.entries if e.done]
        runs, strokes = [e for e in done if e.run], [e for e in done if not e.run]
        kept = {*runs[-module.KEPT_RUNS :], *strokes[-module.KEPT_STROKES :]}
        # What was forgotten once stays forgotten.
        for entry in done:
            if entry not in kept:
                entry.gone = True
        return [e for e in done if not getattr(e, "gone", False)]

    def undo(self, entry):
        entry.done = False
        self.undone.append(entry)

    def redo(self, entry):
        self.passed -= self.undone.index(entry) < self.passed
        self.undone.remove(entry)
        entry.done = True


class Moves(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.notes = Annotation(SHAPE, Vocabulary.parse("a\nb\nc"))
        self.told = Oracle()

    @rule(seed=seeds)
    def paint(self, seed):
        rng = np.random.default_rng(seed)
        box = tuple(slice(a, a + int(rng.integers(1, n - a + 1)))
                    for n in SHAPE for a in [int(rng.integers(0, n))])  # fmt: skip
        drawn = rng.random(self.notes.shown[box].shape) < 0.6
        label = int(rng.integers(0, len(self.notes.vocabulary.classes) + 1))
        name = plain(self.notes.name_of(label))
        ids = self.notes.shown[box].copy()
        ids[drawn] = label
        self.notes.painted(ids, box, drawn)

        def act(owner, mine, *_):
            owner[box][drawn], mine[box][drawn] = HUMAN, name

        entry = Entry(run=False)
        self.told.add(entry)
        self.told.at(entry, act)

    @rule(seed=seeds, plane=st.integers(0, 1), label=st.integers(0, 3))
    def written_by_others(self, seed, plane, label):
        data = self.notes.shown.copy()
        where = np.zeros(SHAPE, bool)
        where[plane] = np.random.default_rng(seed).random(SHAPE[1:]) < 0.3
        where &= data != label
        name = plain(self.notes.name_of(label))
        data[where] = label
        assert self.notes.found_different(data) == where.any()
        if not where.any():
            return

        def act(owner, mine, *_):
            owner[where], mine[where] = HUMAN, name

        entry = Entry(run=False)
        self.told.add(entry)
        self.told.at(entry, act)

    @rule(
        seed=seeds,
        words=words,
        planes=st.permutations([0, 1]),
        between=st.booleans(),
        locked=st.lists(st.sampled_from(LETTERS), max_size=1),
        overwrite=st.booleans(),
    )
    def run(self, seed, words, planes, between, locked, overwrite):
        rng = np.random.default_rng(seed)
        lines = [*words[:-1], f"x: {words[-1]}"] if len(words) > 2 else words
        vocabulary = Vocabulary.parse("\n".join(lines))
        step, entry = self.notes.begin(), Entry(run=True)
        for number, plane in enumerate(planes[: rng.integers(1, 3)]):
            if number and between:
                self.paint(seed)
            origin = (int(rng.integers(0, 2)), int(rng.integers(0, 2)))
            size = (SHAPE[1] - origin[0], SHAPE[2] - origin[1])
            ids = rng.integers(0, len(vocabulary.classes) + 1, size).astype(np.uint16)
            score = rng.random(size).astype(np.float16)
            found = LabelMap(ids, score, np.zeros_like(ids), vocabulary, origin)
            self._mirror(entry, found, plane, locked, overwrite, first=not number)
            self.notes.put(step, found, (plane,), locked=locked, overwrite=overwrite)
        self.notes.finish(step, vocabulary, {"run": id(entry)})
        entry.facts = {"run": id(entry)}

    def _mirror(self, entry, found, plane, locked, overwrite, first):
        owner, mine, model, _ = self.told.state()
        box = (plane, *(slice(o, None) for o in found.origin))
        human = owner[box] != MODEL
        stays = np.isin(np.where(human, mine[box], model[box]), locked)
        replaced = human | ~stays
        erased = human & ~stays if overwrite else np.zeros_like(human)
        names = np.array(["", *found.vocabulary.names], object)[found.ids]

        def act(owner, _, model, score):
            model[box][replaced], score[box][replaced] = names[replaced], found.score[replaced]
            owner[box][erased] = MODEL

        if first:
            self.told.add(entry)
        self.told.at(entry, act)

    @rule(threshold=st.sampled_from([0.0, 0.3, 0.7]))
    def slide(self, threshold):
        self.notes.blank_below(threshold)

    @rule(step=st.sampled_from(["undo", "redo", "undo_run", "redo_run"]), again=st.booleans())
    def walk(self, step, again):
        entry = self._entry(step)
        before = [a.copy() for a in self._arrays()]
        if not self._walked(step):
            assert entry is None
            return
        (self.told.undo if step.startswith("undo") else self.told.redo)(entry)
        if again:
            back = {"undo": "redo", "redo": "undo"}[step[:4]] + step[4:]
            if self._entry(back) is not entry:  # undone in the middle: strokes came after it
                return
            assert self._walked(back)
            (self.told.redo if step.startswith("undo") else self.told.undo)(entry)
            for a, b in zip(before, self._arrays(), strict=True):
                np.testing.assert_array_equal(a, b)

    def _entry(self, step):
        if step.startswith("undo"):
            found = [e for e in self.told.undoable() if e.run or step == "undo"]
        elif step == "redo":
            found = self.told.undone[self.told.passed :]
        else:
            found = [e for e in self.told.undone if e.run]
        return found[-1] if found else None

    def _walked(self, step):
        history = self.notes.history
        if step.endswith("_run"):
            return getattr(self.notes, step)()
        entry = history.next_undo if step == "undo" else history.next_redo
        return entry is not None and getattr(self.notes, step)(entry)

    def _arrays(self):
        notes = self.notes
        return notes.shown, notes.model, notes.score, notes.provenance

    @invariant()
    def as_told(self):
        notes = self.notes
        owner, mine, model, score = self.told.state()
        self.told.undoable()
        np.testing.assert_array_equal(notes.provenance, owner)
        sure = np.where(score >= np.float16(notes.threshold), model, "")
        expected = np.where(owner == MODEL, sure, mine)
        names = np.array([plain(notes.name_of(i)) for i in range(int(notes.shown.max()) + 1)])
        np.testing.assert_array_equal(names[notes.shown], expected)
        known = [plain(notes.name_of(i)) for i in range(int(notes.model.max()) + 1)]
        np.testing.assert_array_equal(np.array(known)[notes.model], model)
        np.testing.assert_array_equal(notes.score, score)

    @invariant()
    def counted(self):
        notes = self.notes
        count = len(notes.vocabulary.classes) + 1
        plainly = np.bincount(notes.shown.ravel(), minlength=count)
        assert list(notes.counts().values()) == plainly.tolist()
        assert notes.human_pixels() == (notes.provenance != MODEL).sum()
        runs = [e for e in self.told.entries if e.run and e.done]
        assert notes.facts == (runs[-1].facts if runs else {})


HOW = settings(
    deadline=None, max_examples=80, stateful_step_count=25, derandomize=True,
    suppress_health_check=list(HealthCheck),
)  # fmt: skip


class ShortMemory(Moves):
    """The same where little can be undone: what is forgotten stays done."""

    def __init__(self):
        super().__init__()
        module.KEPT_RUNS, module.KEPT_STROKES = 2, 3

    def teardown(self):
        module.KEPT_RUNS, module.KEPT_STROKES = 5, 100


TestMoves = Moves.TestCase
TestMoves.settings = HOW
TestShortMemory = ShortMemory.TestCase
TestShortMemory.settings = HOW


def test_bytes_are_bounded_and_the_last_run_stays(monkeypatch):
    notes = Annotation((10, 10), Vocabulary.parse("a\nb"))
    monkeypatch.setattr(module, "KEPT_BYTES", 700)  # one run holds 400 bytes
    for value in (1, 2, 1):
        ids = np.full((10, 10), value, np.uint16)
        found = LabelMap(ids, np.ones((10, 10), np.float16), ids * 0, Vocabulary.parse("a\nb"))
        notes.put(notes.begin(), found)
    assert len(notes.history.runs) == 2
    monkeypatch.setattr(module, "KEPT_BYTES", 1)
    notes.painted(np.full((1, 1), 2, np.uint16), (slice(0, 1), slice(0, 1)))
    assert [type(e) for e in notes.history.done] == [Step, Stroke]
    assert notes.undo_run()
    assert notes.shown[0, 0] == 2
    assert (notes.shown.ravel()[1:] == 2).all()
    assert notes.redo_run()
    assert notes.shown[0, 0] == 2
    assert (notes.shown.ravel()[1:] == 1).all()


def test_strokes_after_a_run_of_a_huge_image_are_undone_and_redone(monkeypatch):
    notes = Annotation((10, 10), Vocabulary.parse("a\nb"))
    monkeypatch.setattr(module, "KEPT_BYTES", 100)  # one run holds 400 bytes, a stroke 7
    ids = np.ones((10, 10), np.uint16)
    score = np.ones((10, 10), np.float16)
    notes.put(notes.begin(), LabelMap(ids, score, ids * 0, notes.vocabulary))
    for x in range(5):
        notes.painted(np.full((1, 1), 2, np.uint16), (slice(0, 1), slice(x, x + 1)))
    assert notes.undo_run()
    assert notes.redo_run()
    for left in (4, 3, 2):
        notes.undo(notes.history.next_undo)
        assert (notes.shown == 2).sum() == left
    notes.redo(notes.history.next_redo)
    assert (notes.shown == 2).sum() == 3


def test_undone_runs_are_bounded_too(monkeypatch):
    notes = Annotation((10, 10), Vocabulary.parse("a\nb"))
    for value in (1, 2, 1):
        ids = np.full((10, 10), value, np.uint16)
        found = LabelMap(ids, np.ones((10, 10), np.float16), ids * 0, notes.vocabulary)
        notes.put(notes.begin(), found)
    for _ in range(3):
        assert notes.undo_run()
    monkeypatch.setattr(module, "KEPT_BYTES", 500)
    notes.painted(np.full((1, 1), 2, np.uint16), (slice(0, 1), slice(0, 1)))
    assert len(notes.history.undone_runs) == 2
    assert notes.history.next_redo is None
    assert notes.redo_run()
    assert notes.redo_run()
    assert not notes.redo_run()
    assert (notes.shown == 2).all()


@pytest.mark.parametrize("move", ["undo_run", "redo_run"])
def test_nothing_to_walk_to_is_false(move):
    assert not getattr(Annotation((2, 2), Vocabulary.parse("a")), move)()

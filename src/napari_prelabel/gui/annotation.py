"""The numbers behind a result layer: the model's answer, the person's pixels, what is shown.

The two are kept apart, so a run cannot write over a stroke: it only replaces the model's answer.
NumPy only; the layer itself is in result.py.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from ..labels import HUMAN, MODEL, Ids, LabelMap, Mask, changes, relabel
from ..vocabulary import UNLABELLED, Class, Vocabulary, key

Index = tuple[int | slice, ...]
KEPT_RUNS = 5
KEPT = " (kept)"


@dataclass(frozen=True, slots=True, eq=False)
class Before:
    """What one run replaced in one box of the arrays; ids are those of `vocabulary`."""

    box: Index
    vocabulary: Vocabulary
    model: Ids
    score: npt.NDArray[np.float16]
    overwritten: Mask | None
    human: Ids | None


@dataclass(slots=True, eq=False)
class Step:
    """One run, undone as a whole."""

    vocabulary: Vocabulary
    parts: list[Before] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class Stroke:
    """One entry of napari's undo list: which pixels became the person's, and what they held."""

    box: tuple[slice, ...]
    fresh: Mask
    drawn: Mask
    ids: Ids


class Annotation:
    """Labels of one layer, shape (..., Y, X).

    vocabulary : classes of the ids below; classes that only the person's pixels still use are
        kept behind those of the last run, so no id changes its meaning.
    model : uint16, the model's answer, whatever was painted over it.
    score : float16, 0..1, how sure the model was.
    provenance : uint8, MODEL or HUMAN per pixel (labels.py).
    shown : uint16, what the layer shows: the person's pixels, else the model's answer where it
        is at least as sure as `threshold`.
    """

    def __init__(self, shape: tuple[int, ...], vocabulary: Vocabulary) -> None:
        self.vocabulary = vocabulary
        self.model: Ids = np.zeros(shape, np.uint16)
        self.score: npt.NDArray[np.float16] = np.ones(shape, np.float16)
        self.provenance: npt.NDArray[np.uint8] = np.zeros(shape, np.uint8)
        self.shown: Ids = np.zeros(shape, np.uint16)
        self.threshold = 0.0
        self.steps: deque[Step] = deque(maxlen=KEPT_RUNS)
        self._strokes: deque[Stroke] = deque(maxlen=100)
        self._undone: deque[Stroke] = deque(maxlen=100)

    # The run

    def begin(self) -> Step:
        """Start a run; nothing changes before its first result is put."""
        return Step(self.vocabulary)

    def put(
        self,
        step: Step,
        found: LabelMap,
        plane: tuple[int, ...] = (),
        locked: Iterable[str] = (),
        overwrite: bool = False,
    ) -> dict[tuple[int, int], int]:
        """Take a run's answer for one plane; returns what changed, `(old, new) -> pixels`.

        The person's pixels and those of locked classes stay as they are; `overwrite` gives up
        the person's pixels inside the answer's box.
        """
        y, x = found.origin
        h, w = found.ids.shape
        box: Index = (*plane, slice(y, y + h), slice(x, x + w))
        kept = self._keep(box, locked, overwrite)
        human = self.provenance[box] == HUMAN
        given_up = human & ~kept if overwrite else None
        step.parts.append(
            Before(
                box,
                self.vocabulary,
                self.model[box].copy(),
                self.score[box].copy(),
                given_up,
                self.shown[box][given_up] if given_up is not None else None,
            )
        )
        if len(step.parts) == 1:
            self.steps.append(step)
            self._speak(found.vocabulary, self._used(box, kept))
        np.copyto(self.model[box], found.ids, where=~kept | human)
        np.copyto(self.score[box], found.score, where=~kept | human)
        if given_up is not None:
            self.provenance[box][given_up] = MODEL
        before = self.shown[box].copy()
        self._show(box)
        self.forget_strokes()
        return changes(before, self.shown[box])

    def finish(self, step: Step, vocabulary: Vocabulary) -> None:
        """After the last answer of a run, drop kept classes that no pixel uses any more."""
        if step.parts and len(self.vocabulary.classes) > len(vocabulary.classes):
            self._speak(vocabulary, _present(self.shown) | _present(self.model))

    def undo_run(self) -> bool:
        """Put back what the last run replaced; strokes made since stay. False if none is left."""
        if not self.steps:
            return False
        step = self.steps.pop()
        human = self.provenance == HUMAN
        self._speak(step.vocabulary, _present(self.shown[human]))
        for part in reversed(step.parts):
            self.model[part.box] = self._translated(part.model, part.vocabulary)
            self.score[part.box] = part.score
            if part.overwritten is not None:
                self._give_back(part)
        self._show((slice(None),) * self.model.ndim)
        self.forget_strokes()
        return True

    def _translated(self, ids: Ids, vocabulary: Vocabulary) -> Ids:
        """Ids of an earlier vocabulary as ids of the present one."""
        self.vocabulary, mapping = carry(vocabulary, self.vocabulary, _present(ids))
        return relabel(ids, mapping) if mapping else ids

    def _give_back(self, part: Before) -> None:
        mask = part.overwritten
        assert mask is not None
        assert part.human is not None
        values = np.zeros(mask.shape, np.uint16)
        values[mask] = self._translated(part.human, part.vocabulary)
        back = mask & (self.provenance[part.box] == MODEL)
        self.provenance[part.box][back] = HUMAN
        self.shown[part.box][back] = values[back]

    def _keep(self, box: Index, locked: Iterable[str], overwrite: bool) -> Mask:
        """Pixels of a box that a run must leave as they are shown."""
        names = {key(name) for name in locked}
        ids = [c.id for c in self.vocabulary.classes if key(c.name) in names]
        kept: Mask = np.isin(self.shown[box], ids)
        if not overwrite:
            kept |= self.provenance[box] == HUMAN
        return kept

    def _used(self, box: Index, kept: Mask) -> set[int]:
        """Ids still needed once a box is replaced: those outside it and those kept in it."""
        outside = np.ones(self.shown.shape, np.bool_)
        outside[box] = kept
        return _present(self.shown[outside]) | _present(self.model[outside])

    def _speak(self, vocabulary: Vocabulary, used: set[int]) -> None:
        """Change to another vocabulary; every pixel keeps its class, whatever its id becomes."""
        self.vocabulary, mapping = carry(self.vocabulary, vocabulary, used)
        if mapping:
            self.model[...] = relabel(self.model, mapping)
            self.shown[...] = relabel(self.shown, mapping)

    # The person

    def painted(self, ids: Ids, box: tuple[slice, ...]) -> None:
        """Take one finished stroke: `ids` is what the box holds after it."""
        drawn = ids != self.shown[box]
        fresh = drawn & (self.provenance[box] != HUMAN)
        self._strokes.append(Stroke(box, fresh, drawn, ids[drawn]))
        self._undone.clear()
        self._take(ids, box, drawn)

    def found_different(self, data: Ids) -> bool:
        """Take every pixel that something else wrote into the layer as the person's."""
        if np.array_equal(data, self.shown):
            return False
        everywhere = (slice(None),) * data.ndim
        self._take(data, everywhere, data != self.shown)
        self.forget_strokes()
        return True

    def stroke_undone(self, data: Ids) -> None:
        """Follow napari's undo of the last stroke: pixels it freed show the model again."""
        if not self._strokes:
            self.found_different(data)
            return
        stroke = self._strokes.pop()
        self._undone.append(stroke)
        old = stroke.drawn & ~stroke.fresh
        self.shown[stroke.box][old] = data[stroke.box][old]
        self.provenance[stroke.box][stroke.fresh] = MODEL
        self._show(stroke.box)

    def stroke_redone(self, data: Ids) -> None:
        """Follow napari's redo of a stroke."""
        if not self._undone:
            self.found_different(data)
            return
        stroke = self._undone.pop()
        self._strokes.append(stroke)
        self.shown[stroke.box][stroke.drawn] = stroke.ids
        self.provenance[stroke.box][stroke.drawn] = HUMAN

    def forget_strokes(self) -> None:
        """After a run napari's own undo starts anew, and so does ours."""
        self._strokes.clear()
        self._undone.clear()

    def _take(self, ids: Ids, box: tuple[slice, ...], drawn: Mask) -> None:
        self.provenance[box][drawn] = HUMAN
        self.shown[box][drawn] = ids[drawn]

    # What is shown

    def blank_below(self, threshold: float) -> None:
        """Show the model's answer only where its score is at least `threshold` (0..1)."""
        self.threshold = threshold
        self._show((slice(None),) * self.model.ndim)

    def _show(self, box: Index) -> None:
        sure = np.where(
            self.score[box] >= np.float16(self.threshold), self.model[box], np.uint16(UNLABELLED)
        )
        np.copyto(self.shown[box], sure, where=self.provenance[box] != HUMAN)

    def named(self) -> tuple[Ids, Vocabulary]:
        """A copy of what is shown, (..., Y, X), and classes that name every id in it."""
        vocabulary, mapping = carry(self.vocabulary, self.vocabulary, _present(self.shown))
        return relabel(self.shown, mapping), vocabulary

    def counts(self) -> dict[str, int]:
        """Shown pixels of each class by name; "" for the unlabelled."""
        found = np.bincount(self.shown.ravel(), minlength=len(self.vocabulary.classes) + 1)
        named = {c.name: int(found[c.id]) for c in self.vocabulary.classes}
        return {"": int(found[UNLABELLED]), **named}

    def human_pixels(self) -> int:
        return int(np.count_nonzero(self.provenance == HUMAN))


def _present(ids: Ids) -> set[int]:
    return {int(i) for i in np.flatnonzero(np.bincount(ids.ravel(), minlength=1))}


def carry(old: Vocabulary, new: Vocabulary, used: set[int]) -> tuple[Vocabulary, dict[int, int]]:
    """The new vocabulary with those old classes behind it that pixels still use.

    Returns it with `old id -> new id`; a name stays with its pixels, whatever its id becomes.
    """
    mapping: dict[int, int] = {}
    taken = {key(word) for c in new.classes for word in c.queries} | {
        key(word) for word in new.background
    }
    named = {c.id: c for c in old.classes}
    extra: list[Class] = []
    for i in sorted(used | set(named)):
        was = named.get(i, Class(max(i, 1), f"label {i}"))
        same = new.find(was.name) or new.find(was.name.removesuffix(KEPT))
        if i == UNLABELLED or same:
            mapping[i] = same.id if same and i else UNLABELLED
        elif i in used:
            name = was.name if key(was.name) not in taken else f"{was.name}{KEPT}"
            taken.add(key(name))
            colour = "#{:02x}{:02x}{:02x}".format(*was.rgb)
            mapping[i] = len(new.classes) + len(extra) + 1
            extra.append(Class(mapping[i], name, colour=colour))
        else:
            mapping[i] = UNLABELLED
    joined = Vocabulary((*new.classes, *extra), new.background) if extra else new
    return joined, {a: b for a, b in mapping.items() if a != b}

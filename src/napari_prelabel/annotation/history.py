"""What can be undone: the person's strokes and the runs, in the order they were made.

The person's pixels are the sum of their edits in that order. Any edit can be taken out of it, or
put back in its place, with those after it staying as they are: each edit remembers what lay under
it, and hands that on to the next one above. Classes are kept by name, for a run may renumber ids.
NumPy only.
"""

from bisect import insort
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from ..values.labels import Ids, Mask, relabel
from ..values.vocabulary import IGNORE, UNLABELLED, Class, Vocabulary, key

Box = tuple[slice, ...]
Owners = npt.NDArray[np.uint8]
KEPT = " (kept)"
KEPT_RUNS, KEPT_STROKES = 5, 100
KEPT_BYTES = 512 << 20


def plain(name: str) -> str:
    """A class name without the mark of classes that are no longer among the words."""
    return name.removesuffix(KEPT)


class Book:
    """A number of its own for every class name ever met, whatever its id is at the time."""

    def __init__(self) -> None:
        self._classes: list[Class] = []
        self._codes: dict[str, int] = {}

    @property
    def vocabulary(self) -> Vocabulary | None:
        """The classes, a code for an id; None before the first."""
        return Vocabulary(tuple(self._classes)) if self._classes else None

    def codes(self, ids: Ids, vocabulary: Vocabulary) -> Ids:
        """Ids of a vocabulary as codes; unlabelled and ignored pixels keep their values."""
        named = {c.id: c for c in vocabulary.classes}
        used = np.flatnonzero(np.bincount(ids.ravel(), minlength=1)).tolist()
        return relabel(ids, {
            i: self._code(named.get(i) or Class(i, f"label {i}"))
            for i in used if i not in (UNLABELLED, IGNORE)
        })  # fmt: skip

    def _code(self, entry: Class) -> int:
        name = plain(entry.name)
        code = self._codes.setdefault(key(name), len(self._classes) + 1)
        colour = "#{:02x}{:02x}{:02x}".format(*entry.rgb)
        self._classes[code - 1 : code] = [Class(code, name, colour=colour)]
        return code


@dataclass(slots=True, eq=False)
class Edit:
    """Pixels whose owner or class a person, or a run that was allowed to, changed at once.

    drawn : bool over the box. codes, owners : (2, n) for its n drawn pixels in C order, row 0 what
    lay there before, row 1 what the edit put there. Codes mean nothing where the model owns.
    """

    number: int
    box: Box
    drawn: Mask
    codes: Ids
    owners: Owners

    @property
    def nbytes(self) -> int:
        return self.drawn.nbytes + self.codes.nbytes + self.owners.nbytes

    def at(self, window: Box, mask: Mask) -> Mask:
        """Which of the n drawn pixels a mask over a window of the box means, (n,)."""
        whole = np.zeros_like(self.drawn)
        whole[window] = mask
        found: Mask = whole[self.drawn]
        return found

    def shared(self, other: "Edit") -> tuple[Mask, Mask] | None:
        """The pixels both drew, as (n,) of this one and of the other; None without any."""
        both = tuple(
            slice(max(a.start, b.start), min(a.stop, b.stop))
            for a, b in zip(self.box, other.box, strict=True)
        )
        if any(s.start >= s.stop for s in both):
            return None
        mine, its = _inside(both, self.box), _inside(both, other.box)
        mask = self.drawn[mine] & other.drawn[its]
        return (self.at(mine, mask), other.at(its, mask)) if mask.any() else None

    def drop(self, pixels: Mask) -> None:
        """Have nothing to do any more with some of the n drawn pixels."""
        self.drawn[self.drawn] = ~pixels
        self.codes, self.owners = self.codes[:, ~pixels], self.owners[:, ~pixels]


@dataclass(slots=True, eq=False)
class Stroke:
    """One stroke, or what something else wrote into the layer at once."""

    edits: list[Edit]
    number: int = 0

    @property
    def nbytes(self) -> int:
        return sum(edit.nbytes for edit in self.edits)


@dataclass(slots=True, eq=False)
class Before:
    """The model's answer in a box on the other side of a run; ids are those of `vocabulary`."""

    box: tuple[int | slice, ...]
    vocabulary: Vocabulary
    model: Ids
    score: npt.NDArray[np.float16]

    @property
    def nbytes(self) -> int:
        return self.model.nbytes + self.score.nbytes


@dataclass(slots=True, eq=False)
class Step:
    """One run, undone as a whole: what lies on its other side, before it or, undone, after it.

    edits : what it took from the person, where it was allowed to.
    """

    vocabulary: Vocabulary
    facts: Mapping[str, Any] = field(default_factory=dict)
    parts: list[Before] = field(default_factory=list)
    edits: list[Edit] = field(default_factory=list)
    number: int = 0

    @property
    def nbytes(self) -> int:
        return sum(part.nbytes for part in self.parts) + sum(e.nbytes for e in self.edits)


class History:
    """What is done and what is undone, each in the order of its making.

    Strokes and runs do not get in each other's way: a run can be taken back or brought again while
    later strokes stay. A stroke ends what can be redone step by step, but not the way back of a
    run that was undone; the next run does.
    """

    def __init__(self) -> None:
        self.book = Book()
        self.done: list[Stroke | Step] = []
        self._undone: list[Stroke | Step] = []
        # So many of the undone are only to be redone by name, not step by step.
        self._passed = 0
        self._count = 0

    @property
    def runs(self) -> list[Step]:
        """Runs that can be undone, oldest first."""
        return [entry for entry in self.done if isinstance(entry, Step)]

    @property
    def undone_runs(self) -> list[Step]:
        """Runs that can be redone; the last one first in turn."""
        return [entry for entry in self._undone if isinstance(entry, Step)]

    @property
    def next_undo(self) -> Stroke | Step | None:
        return self.done[-1] if self.done else None

    @property
    def next_redo(self) -> Stroke | Step | None:
        return self._undone[-1] if len(self._undone) > self._passed else None

    def number(self) -> int:
        """A number for what comes now, larger than any before."""
        self._count += 1
        return self._count

    def add(self, entry: Stroke | Step) -> None:
        """Something new was done."""
        entry.number = self.number()
        self.done.append(entry)
        self._undone = [*self.undone_runs] if isinstance(entry, Stroke) else []
        self._passed = len(self._undone)

    def undone(self, entry: Stroke | Step) -> None:
        """An entry was taken back."""
        self.done.remove(entry)
        self._undone.append(entry)

    def redone(self, entry: Stroke | Step) -> None:
        """An undone entry was done again."""
        self._passed -= self._undone.index(entry) < self._passed
        self._undone.remove(entry)
        insort(self.done, entry, key=lambda e: e.number)

    def clear(self) -> None:
        """Nothing can be undone or redone any more."""
        self.done, self._undone, self._passed = [], [], 0

    # The person's edits

    def take_out(self, edit: Edit) -> Mask:
        """Take a done edit out; returns which of its pixels lie on top, (n,)."""
        top = np.ones(edit.codes.shape[1], np.bool_)
        for later, mine, its in self._covering(edit, top):
            later.codes[0, its], later.owners[0, its] = edit.codes[0, mine], edit.owners[0, mine]
        return top

    def put_in(self, edit: Edit) -> Mask:
        """Put an undone edit back in its place; returns which of its pixels lie on top, (n,).

        Those get what they cover from the caller.
        """
        top = np.ones(edit.codes.shape[1], np.bool_)
        for later, mine, its in self._covering(edit, top):
            edit.codes[0, mine], edit.owners[0, mine] = later.codes[0, its], later.owners[0, its]
            later.codes[0, its], later.owners[0, its] = edit.codes[1, mine], edit.owners[1, mine]
        return top

    def _covering(self, edit: Edit, top: Mask) -> Iterator[tuple[Edit, Mask, Mask]]:
        """(later edit, pixels of `edit` that it is the first to cover, which of its own they are);
        `top` loses them once they were given."""
        for later in self._above(edit):
            if (both := edit.shared(later)) is None:
                continue
            mine, its = both
            mine, its = mine & top, _cut(its, top[mine])
            yield later, mine, its
            top &= ~mine

    def _above(self, edit: Edit) -> list[Edit]:
        later = [e for entry in self.done for e in entry.edits if e.number > edit.number]
        return sorted(later, key=lambda e: e.number)

    # Memory

    def trim(self) -> None:
        """Forget the oldest beyond so many runs, strokes and bytes; the last run and the last of
        all stay, and so does what is to be redone next, however large they are."""
        runs = self.runs
        strokes = [entry for entry in self.done if isinstance(entry, Stroke)]
        too_many: list[Stroke | Step] = [*runs[:-KEPT_RUNS], *strokes[:-KEPT_STROKES]]
        for old in too_many:
            self._forget(old)
        for entry in _oldest([e for e in self.done[:-1] if e not in runs[-1:]]):
            self._forget(entry)
        for entry in _oldest(self._undone[:-1]):
            self._passed -= self._undone.index(entry) < self._passed
            self._undone.remove(entry)

    def _forget(self, entry: Stroke | Step) -> None:
        """It stays done for good: what is older has nothing to do with its pixels any more."""
        self.done.remove(entry)
        for edit in entry.edits:
            for other in self._edits():
                if other.number < edit.number and (both := other.shared(edit)) is not None:
                    other.drop(both[0])

    def _edits(self) -> Iterator[Edit]:
        for entry in (*self.done, *self._undone):
            yield from entry.edits


def _oldest(entries: list[Stroke | Step]) -> list[Stroke | Step]:
    """The first of some entries, as many as have to go for the others to fit."""
    held, first = sum(entry.nbytes for entry in entries), 0
    while held > KEPT_BYTES:
        held, first = held - entries[first].nbytes, first + 1
    return entries[:first]


def edit_of(
    number: int, box: Iterable[int | slice], drawn: Mask, shape: tuple[int, ...]
) -> tuple[Edit, Mask]:
    """An edit without values, cut to the pixels it drew, and those pixels over the given box."""
    whole = [slice(*i.indices(n)) if isinstance(i, slice) else slice(i, i + 1)
             for i, n in zip([*box, *[slice(None)] * len(shape)], shape, strict=False)]  # fmt: skip
    mask = drawn.reshape([s.stop - s.start for s in whole])
    cut = []
    for axis, part in enumerate(whole):
        hit = np.flatnonzero(mask.any(tuple(a for a in range(mask.ndim) if a != axis)))
        first, last = (int(hit[0]), int(hit[-1]) + 1) if hit.size else (0, 0)
        cut.append(slice(part.start + first, part.start + last))
    inner = mask[_inside(tuple(cut), tuple(whole))].copy()
    count = int(inner.sum())
    empty = np.zeros((2, count), np.uint16), np.zeros((2, count), np.uint8)
    return Edit(number, tuple(cut), inner, *empty), mask


def _inside(window: Box, box: Box) -> Box:
    """A window of an array as a window of one of its boxes."""
    return tuple(
        slice(w.start - b.start, w.stop - b.start) for w, b in zip(window, box, strict=True)
    )


def _cut(pixels: Mask, keep: Mask) -> Mask:
    """Those of the marked pixels that are to be kept, (k,) in their order."""
    left = pixels.copy()
    left[pixels] = keep
    return left

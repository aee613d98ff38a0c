"""The numbers behind a result layer: the model's answer, the person's pixels, what is shown.

The two are kept apart, so a run cannot write over a stroke: it only replaces the model's answer.
Counts follow the boxes that change, so nothing here looks at a whole stack per stroke or slice.
NumPy only; the layer itself is in result.py.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from itertools import count, product
from typing import Any

import numpy as np
import numpy.typing as npt

from ..values.labels import HUMAN, MODEL, Ids, LabelMap, Mask, relabel
from ..values.vocabulary import IGNORE, UNLABELLED, Class, Vocabulary, key
from .blank import blank
from .history import KEPT, Before, Edit, History, Step, Stroke, edit_of, plain
from .strips import below, strips_of
from .tally import Tally, pairs_of
from .words import carry

Plane = tuple[int, ...]
Index = tuple[int | slice, ...]
Owner = npt.NDArray[np.uint8]


class Annotation:
    """Labels of one layer, shape (..., Y, X).

    vocabulary : classes of the ids below; classes that only the person's pixels still use are
        kept behind those of the last run, so no id changes its meaning.
    model : uint16, the model's answer, whatever was painted over it.
    score : float16, 0..1, how sure the model was.
    provenance : uint8 per pixel (labels.py); all but MODEL is the person's.
    shown : uint16, what the layer shows: the person's pixels, else the model's answer where it
        is at least as sure as `threshold`.
    facts : the job and the run that the labels came from, plain values.
    waiting : strips of planes that do not show the present threshold yet; see blank_below.
    edits : grows with every edit and is odd in the middle of one, so that a copy made by another
        thread can tell whether it is whole.
    """

    def __init__(self, shape: tuple[int, ...], vocabulary: Vocabulary) -> None:
        self.vocabulary = vocabulary
        self.model: Ids = blank(shape, np.uint16)
        self.score: npt.NDArray[np.float16] = blank(shape, np.float16)
        self.provenance: Owner = blank(shape, np.uint8)
        self.shown: Ids = blank(shape, np.uint16)
        self.threshold = 0.0
        self.facts: Mapping[str, Any] = {}
        self.waiting: list[Index] = []
        self.edits = 0
        self.history = History()
        self._touched: set[Plane] = set()
        pixels = self.shown.size
        self._shown, self._model, self._human = Tally(pixels), Tally(pixels), Tally(0)

    # The run

    def begin(self) -> Step:
        """Start a run; nothing changes before its first result is put."""
        return Step(self.vocabulary)

    def put(
        self,
        step: Step,
        found: LabelMap,
        plane: Plane = (),
        locked: Iterable[str] = (),
        overwrite: bool = False,
    ) -> dict[tuple[str, str], int]:
        """Take a run's answer for one plane; returns what changed, `(old, new) -> pixels`.

        Classes are named, "" the unlabelled: ids of the run before may be gone.

        The person's pixels and those of locked classes stay as they are; `overwrite` gives up
        the person's pixels inside the answer's box. A step that was undone, or that another run
        came after, starts anew: each part is undone in its own order.
        """
        box = box_of(found, plane)
        stays = self.keeps_ids(step, found.vocabulary)
        first = self._resume(step)
        kept = self.stays(box, locked, overwrite)
        human = self.provenance[box] != MODEL
        step.parts.append(
            Before(box, self.vocabulary, self.model[box].copy(), self.score[box].copy())
        )
        given_up = human & ~kept
        if given_up.any():
            step.edits.append(self._edit(box, given_up, MODEL))
        replaced = ~kept | human
        was = (self.shown[box].copy(), self.vocabulary) if first and not stays else None
        if first and stays:
            self.vocabulary = found.vocabulary.dressed_as(self.vocabulary)
        elif first:
            used = self._shown.without(self.shown[box][~kept])
            used |= self._model.without(self.model[box][replaced])
            self._speak(found.vocabulary, used, box)
        everywhere = True if replaced.all() else replaced
        with self._editing(box, model=True) as changed:
            np.copyto(self.model[box], found.ids, where=everywhere)
            np.copyto(self.score[box], found.score, where=everywhere)
            self.provenance[box][given_up] = MODEL
            self._show(box)
        self.history.trim()
        return self._named(changed) if was is None else self._differing(*was, box)

    def _named(
        self, changed: Mapping[tuple[int, int], int], behind: Mapping[int, str] | None = None
    ) -> dict[tuple[str, str], int]:
        """Changes by name; `behind` names the ids of classes that are gone."""
        named: Counter[tuple[str, str]] = Counter()
        for (old, new), pixels in changed.items():
            was = (behind or {}).get(old) or self.name_of(old)
            named[plain(was), self.name_of(new)] += pixels
        return dict(named)

    def _differing(self, ids: Ids, was: Vocabulary, box: Index) -> dict[tuple[str, str], int]:
        """What a box shows now against `ids` of an earlier vocabulary, by class names."""
        behind: dict[int, str] = {}
        mapping: dict[int, int] = {}
        for c in was.classes:
            now = self.id_of(c.name)
            if now is None:
                now = len(self.vocabulary.classes) + len(behind) + 1
                behind[now] = c.name
            mapping[c.id] = now
        return self._named(pairs_of(relabel(ids, mapping), self.shown[box]), behind)

    def _resume(self, step: Step) -> bool:
        """Make a step the last run; True when this is its first answer."""
        runs = self.history.runs
        if runs and runs[-1] is step:
            return False
        if step in runs:
            self.history.done[self.history.done.index(step)] = replace(step)
        step.vocabulary, step.facts, step.parts, step.edits = self.vocabulary, self.facts, [], []
        self.history.add(step)
        return True

    def finish(self, step: Step, vocabulary: Vocabulary, facts: Mapping[str, Any]) -> None:
        """After the last answer of a run, drop kept classes that no pixel uses any more."""
        if not self.is_last_run(step):
            return
        self.facts = facts
        if len(self.vocabulary.classes) > len(vocabulary.classes):
            self._speak(vocabulary, self._shown.present | self._model.present)

    def is_last_run(self, step: Step) -> bool:
        """Whether no other run came after a step, and it was not undone."""
        runs = self.history.runs
        return bool(runs) and runs[-1] is step

    # Undo

    def undo_run(self) -> bool:
        """Put back what the last run replaced; strokes made since stay. False if none is left."""
        runs = self.history.runs
        return bool(runs) and self.undo(runs[-1])

    def redo_run(self) -> bool:
        """Bring the run back that was undone last; False if there is none."""
        runs = self.history.undone_runs
        return bool(runs) and self.redo(runs[-1])

    def undo(self, entry: Stroke | Step) -> bool:
        """Take a stroke or a run back; later ones stay. Freed pixels show the model again."""
        self.history.undone(entry)
        if isinstance(entry, Step):
            self._cross(entry, list(reversed(entry.parts)))
        for edit in reversed(entry.edits):
            self._write(edit, self.history.take_out(edit), 0)
        return True

    def redo(self, entry: Stroke | Step) -> bool:
        """Bring an undone stroke or run back to its place; later strokes stay on top."""
        if isinstance(entry, Step):
            self._cross(entry, entry.parts)
        for edit in entry.edits:
            top = self.history.put_in(edit)
            codes, owners = self._held(edit.box, edit.drawn)
            edit.codes[0, top], edit.owners[0, top] = codes[top], owners[top]
            self._write(edit, top, 1)
        self.history.redone(entry)
        return True

    def _cross(self, step: Step, parts: list[Before]) -> None:
        """Change places with what lies on the other side of a run."""
        here = self.vocabulary, self.facts
        self._speak(step.vocabulary, self._shown.present | self._model.present)
        for part in parts:
            with self._editing(part.box, model=True):
                model, score = self.model[part.box].copy(), self.score[part.box].copy()
                self.model[part.box] = self._translated(part.model, part.vocabulary)
                self.score[part.box] = part.score
                self._show(part.box)
            part.model, part.score, part.vocabulary = model, score, self.vocabulary
        self._speak(step.vocabulary, self._shown.present | self._model.present)
        self.facts = step.facts
        step.vocabulary, step.facts = here

    def _translated(self, ids: Ids, vocabulary: Vocabulary) -> Ids:
        """Ids of an earlier vocabulary as ids of the present one."""
        used = set(np.flatnonzero(np.bincount(ids.ravel(), minlength=1)).tolist())
        here = self.vocabulary
        joined, mapping = carry(vocabulary, here, used)
        fresh = joined.classes[len(here.classes) :]
        if fresh:
            worn = (replace(c, colour="", dress=c.colour) for c in fresh)
            self.vocabulary = Vocabulary((*here.classes, *worn), here.background)
        return relabel(ids, mapping) if mapping else ids

    def _edit(self, box: Index, drawn: Mask, owner: int, ids: Ids | None = None) -> Edit:
        """What is about to happen to some pixels of a box; `ids` is what the box is to hold."""
        edit, whole = edit_of(self.history.number(), box, drawn, self.shown.shape)
        edit.codes[0], edit.owners[0] = self._held(edit.box, edit.drawn)
        if ids is not None:
            after = ids.reshape(whole.shape)[whole]
            edit.codes[1] = self.history.book.codes(after, self.vocabulary)
        edit.owners[1] = owner
        return edit

    def _held(self, box: Index, drawn: Mask) -> tuple[Ids, Owner]:
        """Codes and owners of the drawn pixels of a box; 0 where the model owns them."""
        owners = self.provenance[box][drawn]
        ids = np.where(owners != MODEL, self.shown[box][drawn], np.uint16(UNLABELLED))
        return self.history.book.codes(ids, self.vocabulary), owners

    def _write(self, edit: Edit, top: Mask, side: int) -> None:
        """Give pixels of an edit what lay before it (side 0) or what it put there (side 1)."""
        codes, owners = edit.codes[side, top], edit.owners[side, top]
        known = self.history.book.vocabulary
        ids = codes if known is None else self._translated(codes, known)
        mask = edit.drawn.copy()
        mask[edit.drawn] = top
        with self._editing(edit.box):
            self.provenance[edit.box][mask] = owners
            self.shown[edit.box][mask] = ids
            self._show(edit.box)

    def stays(self, box: Index, locked: Iterable[str], overwrite: bool = False) -> Mask:
        """Pixels of a box that a run must leave alone, whether the slider hides them or not.

        locked : names of classes. overwrite : the person's pixels do not stay.
        """
        names = {key(plain(name)) for name in locked}
        ids = [c.id for c in self.vocabulary.classes if key(plain(c.name)) in names]
        human = self.provenance[box] != MODEL
        kept: Mask = np.zeros(human.shape, np.bool_)
        if ids:
            kept = np.isin(np.where(human, self.shown[box], self.model[box]), ids)
        return kept if overwrite else kept | human

    # Words

    def keeps_ids(self, step: Step, vocabulary: Vocabulary) -> bool:
        """True when a run's next answer can move no id outside its own box."""
        if self.is_last_run(step):
            return True
        same = vocabulary.names == self.vocabulary.names
        return same and max(self._shown.present) <= len(vocabulary.classes)

    def _speak(self, vocabulary: Vocabulary, used: set[int], box: Index | None = None) -> None:
        """Change to another vocabulary; every pixel keeps its class, whatever its id becomes.

        box : where the ids lie that are not in `used`; without it they may lie anywhere.
        """
        with self._counting():
            self._respeak(vocabulary, used, box)

    def _respeak(self, vocabulary: Vocabulary, used: set[int], box: Index | None) -> None:
        self.vocabulary, mapping = carry(self.vocabulary, vocabulary, used)
        present = self._shown.present | self._model.present
        moved = (used if box is not None else present) & mapping.keys()
        if not present & mapping.keys():
            return
        table = relabel(np.arange(65536, dtype=np.uint16), mapping)
        places: Iterable[Index] = self._touched if moved or box is None else [box]
        for place in places:
            self.model[place] = table[self.model[place]]
            self.shown[place] = table[self.shown[place]]
        for tally in (self._shown, self._model, self._human):
            tally.rename(table)

    def name_of(self, label: int) -> str:
        """Name of an id; "" for the unlabelled."""
        if label == UNLABELLED:
            return ""
        known = self.vocabulary.classes
        return known[label - 1].name if 0 < label <= len(known) else f"label {label}"

    def id_of(self, name: str) -> int | None:
        """Id that a name has now, None when it is gone."""
        if not name:
            return UNLABELLED
        find = self.vocabulary.find
        found = find(name) or find(plain(name)) or find(plain(name) + KEPT)
        return None if found is None else found.id

    # The person

    def painted(self, ids: Ids, box: tuple[slice, ...], drawn: Mask | None = None) -> None:
        """Take one finished stroke: `ids` is what the box holds after it.

        drawn : the pixels the stroke went over, those that showed the class before included.
        """
        drawn = ids != self.shown[box] if drawn is None else drawn
        self._stroke([(box, drawn, ids)])

    def found_different(self, data: Ids, box: Index = ()) -> bool:
        """Take every pixel of a box that something else wrote into the layer as the person's."""
        found = []
        for plane in planes_of(box, self.shown.shape) if not box else [box]:
            drawn = data[plane] != self.shown[plane]
            if drawn.any():
                found.append((plane, drawn, data[plane]))
        if found:
            self._stroke(found)
        return bool(found)

    def _stroke(self, pieces: list[tuple[Index, Mask, Ids]]) -> None:
        pieces = [(box, drawn, self.name_all(ids, drawn)) for box, drawn, ids in pieces]
        edits = [self._edit(box, drawn, HUMAN, ids) for box, drawn, ids in pieces]
        self.history.add(Stroke(edits))
        for box, drawn, ids in pieces:
            self._take(ids, box, drawn)
        self.history.trim()

    def name_all(self, ids: Ids, drawn: Mask | None = None) -> Ids:
        """Ids with a new class for each (drawn) one that has no name, as the class's id."""
        known = len(self.vocabulary.classes)
        drawn = np.ones(ids.shape, np.bool_) if drawn is None else drawn
        used = np.flatnonzero(np.bincount(ids[drawn], minlength=1)).tolist()
        unnamed = [i for i in used if i > known and i != IGNORE]
        if not unnamed:
            return ids
        taken = {key(word) for c in self.vocabulary.classes for word in c.queries}
        taken |= {key(word) for word in self.vocabulary.background}
        fresh: list[Class] = []
        for i in unnamed:
            names = (f"label {i}{f' ({n})' if n > 1 else ''}" for n in count(1))
            name = next(name for name in names if key(name) not in taken)
            taken.add(key(name))
            fresh.append(Class(known + len(fresh) + 1, name))
        classes = (*self.vocabulary.classes, *fresh)
        self.vocabulary = Vocabulary(classes, self.vocabulary.background)
        mapping = {i: c.id for i, c in zip(unnamed, fresh, strict=True)}
        return np.where(drawn, relabel(ids, mapping), ids)

    def adopt(self, data: Ids, owner: int) -> None:
        """Take the labels of a layer as they are; none of them is the model's."""
        for plane in planes_of((), self.shown.shape):
            drawn = data[plane] != self.shown[plane]
            if drawn.any():
                self._take(self.name_all(data[plane], drawn), plane, drawn, owner)

    def adopt_owned(self, data: Ids, provenance: Owner) -> None:
        """Take the labels of a layer as they are, each pixel whose it is.

        The model is as sure of its own as can be: how sure it was is told nowhere.
        """
        named = int(data.max(initial=0)) <= len(self.vocabulary.classes)
        ids, model = data if named else self.name_all(data), provenance == MODEL
        score = np.where(model, np.float16(1), np.float16(0))
        self.restore(np.where(model, ids, np.uint16(UNLABELLED)), score, ids, provenance)

    def restore(
        self, model: Ids, score: npt.NDArray[np.float16], shown: Ids, provenance: Owner
    ) -> None:
        """Take up arrays of this one's shape that were kept from it or from one like it."""
        self._touched.update(planes_of((), self.shown.shape))
        with self._counting():
            self.model[...], self.score[...] = model, score
            self.shown[...], self.provenance[...] = shown, provenance
            self._shown, self._model, self._human = Tally(0), Tally(0), Tally(0)
            self._shown.add(self.shown)
            self._model.add(self.model)
            self._human.add(self.shown[self.provenance != MODEL])
        self.history.clear()

    def _take(self, ids: Ids, box: Index, drawn: Mask, owner: int = HUMAN) -> None:
        with self._editing(box):
            self.provenance[box][drawn] = owner
            self.shown[box][drawn] = ids[drawn]

    # What is shown

    def blank_below(self, threshold: float, first: Plane | None = None) -> None:
        """Show the model's answer only where its score is at least `threshold` (0..1).

        first : do this plane at once, or before the others where it is large; they follow strip by
            strip in `catch_up`. None: do all at once.
        """
        self.threshold = threshold
        planes = sorted(self._touched - {first}) + [p for p in [first] if p in self._touched]
        self.waiting = [strip for plane in planes for strip in self._strips(plane)]
        if first is None:
            self.catch_up_all()
        elif first in self._touched and len(self._strips(first)) == 1:
            self.catch_up()

    def _strips(self, plane: Plane | None) -> list[Index]:
        """The strips of a plane, the lowest first; one where the plane is small."""
        return [(*(plane or ()), rows) for rows in reversed(strips_of(*self.shown.shape[-2:]))]

    def catch_up(self) -> Index:
        """Bring one waiting strip to the present threshold and return it."""
        strip = self.waiting.pop()
        with self._editing(strip):
            self._show(strip)
        return strip

    def catch_up_all(self) -> None:
        while self.waiting:
            self.catch_up()

    def _show(self, box: Index) -> None:
        owner = self.provenance[box]
        free: Mask | bool = owner == MODEL if owner.any() else True
        np.copyto(self.shown[box], self.model[box], where=free)
        if self.threshold > 0:
            unsure = below(self.score[box], self.threshold)
            np.copyto(self.shown[box], np.uint16(UNLABELLED), where=unsure & free)

    def named(self) -> tuple[Ids, Vocabulary]:
        """A copy of what is shown, (..., Y, X), and classes that name every id in it."""
        self.catch_up_all()
        vocabulary, mapping = carry(self.vocabulary, self.vocabulary, self._shown.present)
        return (relabel(self.shown, mapping) if mapping else self.shown.copy()), vocabulary

    def counts(self) -> dict[str, int]:
        """Shown pixels of each class by name; "" for the unlabelled."""
        found = self._shown.counts
        named = {c.name: int(found[c.id]) for c in self.vocabulary.classes}
        return {"": int(found[UNLABELLED]), **named}

    def human_pixels(self) -> int:
        """Pixels that are the person's."""
        return int(self._human.counts.sum())

    def model_pixels(self) -> int:
        """Labelled pixels that are shown as the model has them."""
        shown, human = self._shown.counts, self._human.counts
        return int(shown[UNLABELLED + 1 :].sum() - human[UNLABELLED + 1 :].sum())

    @contextmanager
    def _counting(self) -> Iterator[None]:
        self.edits += 1
        yield
        self.edits += 1

    @contextmanager
    def _editing(self, box: Index, model: bool = False) -> Iterator[dict[tuple[int, int], int]]:
        """Keep the counts right while a box is written; yields what changed in `shown`, after.

        model : whether the model's answer is written, too.
        """
        self._touched.update(planes_of(box, self.shown.shape))
        shown = self.shown[box].copy()
        answer = self.model[box].copy() if model else None
        self._count_human(shown, box, -1)
        changed: dict[tuple[int, int], int] = {}
        with self._counting():
            yield changed
        changed |= self._shown.exchange(shown, self.shown[box])
        if answer is not None:
            self._model.exchange(answer, self.model[box])
        self._count_human(self.shown[box], box)

    def _count_human(self, shown: Ids, box: Index, sign: int = 1) -> None:
        owner = self.provenance[box]
        if owner.any():
            self._human.add(shown[owner != MODEL], sign)


def box_of(found: LabelMap, plane: Plane) -> Index:
    """Where an answer belongs in the arrays."""
    (y, x), (h, w) = found.origin, found.ids.shape
    return (*plane, slice(y, y + h), slice(x, x + w))


def planes_of(box: Index, shape: tuple[int, ...]) -> Iterator[Plane]:
    """The planes that a box of an array (..., Y, X) touches."""
    axes = []
    for axis, n in enumerate(shape[:-2]):
        at = box[axis] if axis < len(box) else slice(None)
        axes.append(range(n)[at] if isinstance(at, slice) else (at,))
    return product(*axes)

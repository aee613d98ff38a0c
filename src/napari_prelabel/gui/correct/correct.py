"""Corrections of a segment or a slice: its next best class with one key, and tidying.

Every correction goes through the layer's own undo, and its pixels are the person's afterwards.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from napari.layers import Labels
from qtpy.QtCore import QObject, Signal

from ...annotation import tidy
from ...annotation.annotation import Plane
from ...annotation.history import plain
from ...values.errors import PrelabelError
from ...values.labels import Ids, Mask
from ...values.vocabulary import IGNORE, key
from ..keys import pressed
from ..layers.result import ResultLayer
from ..parts.pieces import Tone, counted
from ..run.place_box import PlaceBox
from ..run.session import Session
from ..threads import Background
from .correct_box import CorrectBox

MOST = 5


@dataclass(slots=True, eq=False)
class Cycle:
    """The region that was cycled last: its pixels, the classes in turn, and which it has."""

    result: ResultLayer
    plane: Plane
    mask: Mask
    names: list[str]
    at: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Tidied:
    """A slice as it would be once cleaned, and the labels it was made from."""

    result: ResultLayer
    plane: Plane
    after: Ids
    edits: int


class Corrector(QObject):
    """`said` brings (tone, sentence). locked : names of classes that must stay."""

    said = Signal(str, str)

    def __init__(
        self,
        viewer: Any,
        session: Session,
        place: PlaceBox,
        box: CorrectBox,
        locked: Callable[[], Iterable[str]],
    ) -> None:
        super().__init__()
        self._viewer, self._session, self._place = viewer, session, place
        self._box, self._locked = box, locked
        self._cycle: Cycle | None = None
        self._work = Background()
        self._work.done.connect(self._tidied)
        box.tidy.connect(self.tidy)
        box.held = self._held

    def _result(self) -> ResultLayer | None:
        """The labels that are selected, else those of the chosen image; says so if none are."""
        active = self._viewer.layers.selection.active
        result = ResultLayer.of(active) if isinstance(active, Labels) else None
        result = result or self._session.result(self._place.layer)
        if result is None:
            self._say("There are no labels to correct yet: run first.")
        elif result.drawing:
            self._say("Finish the stroke first.")
            return None
        return result

    def _held(self) -> str:
        active = self._viewer.layers.selection.active
        result = ResultLayer.of(active) if isinstance(active, Labels) else None
        result = result or self._session.result(self._place.layer)
        return result.annotation.name_of(result.layer.selected_label) if result else ""

    def _say(self, text: str, tone: Tone = "info") -> None:
        self.said.emit(tone, text)

    # The next best class

    def next_best(self) -> None:
        """Give the region under the cursor the class that came second; again: the one after."""
        result = self._result()
        if result is None:
            return
        place = self._pointed(result)
        if place is None:
            self._say(f"Point at a region of the labels, then press {pressed('next')}.")
            return
        cycle = self._cycle_at(result, *place)
        if cycle is None:
            return
        cycle.at = (cycle.at + 1) % len(cycle.names)
        new = result.annotation.id_of(cycle.names[cycle.at])
        assert new is not None
        _write(result, cycle.plane, [(cycle.mask, new)])
        self._cycle = cycle
        turn = " → ".join(f"[{n}]" if i == cycle.at else n for i, n in enumerate(cycle.names))
        self._say(f"{turn}. {pressed('next')} goes on, Ctrl+Z takes it back.")

    def _pointed(self, result: ResultLayer) -> tuple[Plane, int, int] | None:
        layer = result.layer
        at = [round(float(v)) for v in layer.world_to_data(self._viewer.cursor.position)]
        if not all(0 <= i < n for i, n in zip(at, layer.data.shape, strict=True)):
            return None
        return tuple(at[:-2]), at[-2], at[-1]

    def _cycle_at(self, result: ResultLayer, plane: Plane, y: int, x: int) -> Cycle | None:
        """The region's turn of classes, begun or gone on with; None after saying why not."""
        notes, shown = result.annotation, result.layer.data[plane]
        old = self._cycle
        if old is not None and old.result is result and old.plane == plane and old.mask[y, x]:
            known = [notes.id_of(name) for name in old.names]
            if None not in known and (shown[old.mask] == known[old.at]).all():
                return old
        held = int(shown[y, x])
        name = notes.name_of(held)
        if held == IGNORE:
            self._say("Pixels marked as ignored have no next best class.")
        elif key(plain(name)) in {key(plain(n)) for n in self._locked()}:
            self._say(f"{name} is locked: untick its lock in the table first.")
        else:
            mask = tidy.region_at(shown, y, x)
            ranked = result.seconds.ranked(plane, mask)
            names = [n for n in ranked if n != name and notes.id_of(n) is not None][:MOST]
            if names:
                return Cycle(result, plane, mask, [name, *names])
            self._say("No other class is known for this region: run once more, then press again.")
        return None

    # Tidy

    def tidy(self, kind: str) -> None:
        """Clean the slice in view, off the GUI thread; `kind` is one of correct_box.KINDS."""
        result = self._result()
        if result is None:
            return
        plane, of = result.plane_in_view(), int(result.layer.selected_label)
        before, least = result.layer.data[plane].astype(np.uint16), self._box.least.value()
        result.take_unseen(plane or _everything(before))
        edits = result.annotation.edits
        self._box.button.setEnabled(False)
        self._work.start(lambda: Tidied(result, plane, _clean(kind, before, least, of), edits))

    def _tidied(self, outcome: Any) -> None:
        self._box.button.setEnabled(True)
        if isinstance(outcome, Exception):
            why = outcome if isinstance(outcome, PrelabelError) else f"Tidying failed: {outcome}"
            self._say(str(why), "failed")
            return
        result, plane, after = outcome.result, outcome.plane, outcome.after
        if result.annotation.edits != outcome.edits or result.drawing:
            self._say("The labels changed meanwhile: press Tidy again.")
            return
        box = plane or _everything(after)
        change = (after != result.layer.data[plane]) & ~result.annotation.stays(box, self._locked())
        if not change.any():
            self._say("There was nothing to tidy.")
            return
        ids = np.unique(after[change])
        _write(result, plane, [(change & (after == i), int(i)) for i in ids])
        count = int(change.sum())
        many = counted(count, "pixel")
        self._say(f"Tidied {many}. Ctrl+Z takes it back.")


def _clean(kind: str, ids: Ids, least: int, of: int) -> Ids:
    if kind == "absorb":
        return tidy.absorb_small(ids, least)
    if kind == "absorb_of":
        return tidy.absorb_small(ids, least, of)
    if kind == "fill_of":
        return tidy.fill_holes(ids, of, least)
    return tidy.smooth(ids, of)


def _everything(plane: Ids) -> tuple[slice, ...]:
    return tuple(slice(0, n) for n in plane.shape)


def _write(result: ResultLayer, plane: Plane, parts: list[tuple[Mask, int]]) -> None:
    """Write ids where masks (Y, X) say, as one entry of napari's undo list."""
    layer = result.layer
    with layer.block_history():
        for mask, label in parts:
            where = np.nonzero(mask)
            ahead = tuple(np.full(len(where[0]), i) for i in plane)
            layer.data_setitem((*ahead, *where), label, False)
    layer.refresh(extent=False)

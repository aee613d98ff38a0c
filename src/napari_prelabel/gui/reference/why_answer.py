"""The answer to "why this label?": from the worker's rows to pictures, words and percent."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QObject, Signal

from ...values.errors import Cancelled
from ...values.job import Job
from ..layers.result import ResultLayer
from ..parts.pieces import counted, sentence
from .entries import EntryGroup, Line
from .shelf import Entry, Shelf
from .why import WhyBox, WhyTool

if TYPE_CHECKING:
    from ...engine.tasks import Cause, Explanation

CHANGED = "The set has changed since this run: run again to see what it says now."
Plane = tuple[int, ...]


class WhyAnswer(QObject):
    """Shows one answer at a time; `failed` brings a sentence."""

    failed = Signal(str)

    def __init__(self, box: WhyBox, tool: WhyTool, shelf: Shelf) -> None:
        super().__init__()
        self._box, self._tool, self._shelf = box, tool, shelf
        self._about: tuple[ResultLayer, Plane, Job] | None = None
        shelf.switched.connect(lambda rows, _: self._switched(rows))

    def expect(self, result: ResultLayer, plane: Plane, job: Job) -> None:
        """The answer that comes next is about this result."""
        self._about = result, plane, job

    def show(self, outcome: Any) -> None:
        """Show what the worker answered."""
        if self._about is None:
            return
        result, plane, job = self._about
        if isinstance(outcome, Exception):
            self._box.say("")
            if not isinstance(outcome, Cancelled):
                self.failed.emit(sentence(outcome))
            return
        self._tool.mark(result, plane, outcome.mask)
        if not outcome.causes or not outcome.class_id:
            self._box.say("No reference speaks for this place.", "It is unlabelled, or unlike all "
                          "segments of the set: correct it and add the image.")  # fmt: skip
            return
        self._list(outcome, job)

    def _list(self, found: "Explanation", job: Job) -> None:
        name = job.vocabulary.classes[found.class_id - 1].name
        reference = job.reference
        assert reference is not None
        if self._shelf.folder != Path(reference.folder):
            self._shelf.open(Path(reference.folder))
        rows = np.asarray([cause.row for cause in found.causes], np.int64)
        ran = (self._about[0].annotation.facts.get("job") or {}) if self._about else {}
        old = (ran.get("reference") or {}).get("digest", reference.digest)
        note = CHANGED if old != reference.digest else ""

        def then(entries: Sequence[Entry]) -> None:
            self._box.say(
                f"“{name}” took {percent(found.share)} of the weight. It comes from:", note
            )
            self._box.list.show_groups(grouped(entries, found.causes))

        self._shelf.entries(rows, then)

    def _switched(self, rows: Any) -> None:
        listed = self._box.list.rows_of(rows)
        if len(listed):
            self._shelf.entries(listed, self._again)

    def _again(self, entries: Sequence[Entry]) -> None:
        self._box.list.again(entries)
        self._box.note.setText("Switched: press Run again to see the difference.")
        self._box.note.show()


def grouped(entries: Sequence[Entry], causes: "Sequence[Cause]") -> list[EntryGroup]:
    """References by the image they are from, the image of most weight first."""
    found: dict[str, list[tuple[Entry, Cause]]] = {}
    for entry, cause in zip(entries, causes, strict=True):
        found.setdefault(entry.record.source.hash, []).append((entry, cause))
    groups = []
    for members in sorted(found.values(), key=lambda m: -sum(c.weight for _, c in m)):
        share = percent(sum(cause.weight for _, cause in members))
        title = f"{members[0][1].source}: {share} of {counted(len(members), 'segment')}"
        groups.append(EntryGroup(title, [_line(entry, cause) for entry, cause in members]))
    return groups


def _line(entry: Entry, cause: "Cause") -> Line:
    y0, x0, y1, x1 = entry.record.segment.box
    head = f"{percent(cause.weight)}  {', '.join(cause.words)}"
    return Line(entry, head, f"{x1 - x0} × {y1 - y0} px at ({y0}, {x0})")


def percent(weight: float) -> str:
    """A share in percent; small ones are not nothing."""
    return f"{100 * weight:.0f} %" if weight >= 0.005 else "< 1 %"

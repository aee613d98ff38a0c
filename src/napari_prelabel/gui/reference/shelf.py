"""The reference set that is open: read and changed in one thread, told of in another.

A `ReferenceSet` lives in the reader's thread only. What the dock needs comes out as values.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from qtpy.QtCore import QObject, Signal

from ...values.encoder import Encoder
from ...values.errors import ReferenceSetError
from ..parts.pieces import counted, sentence
from .reader import Reader

if TYPE_CHECKING:
    from ...reference.store import ReferenceSet
    from ...reference.values import ClassStats, Cleaned, Record

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Overview:
    """A set as the dock shows it.

    cleaned : what its last cleaning did. hashes : content hashes of its images.
    words : the model that compares its words, "" where they meet by name.
    """

    folder: Path
    name: str
    encoder: Encoder
    segments: int
    images: int
    digest: str
    classes: "tuple[ClassStats, ...]"
    cleaned: "Cleaned | None"
    licences: tuple[str, ...]
    hashes: frozenset[str]
    words: str = ""

    def text(self) -> str:
        """The set in one line."""
        parts = [
            counted(self.segments, "segment"),
            counted(self.images, "image"),
            counted(len(self.classes), "class", "classes"),
        ]
        words = f" Words: {self.words}." if self.words else ""
        return f"{parts[0]} of {parts[1]}, {parts[2]}. Encoder: {self.encoder}.{words}"


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """A row of the set with its picture (PNG)."""

    record: "Record"
    picture: bytes


class Shelf(QObject):
    """`shown` brings the Overview after every opening and change, None when no set is open.

    `switched` brings (rows, on) once a set has taken the switch; `failed` a sentence;
    `said` what was done. told : the last change that `undo` takes back, "" when there is none.
    """

    shown = Signal(object)
    switched = Signal(object, bool)
    failed = Signal(str)
    said = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self.overview: Overview | None = None
        # What `told` switched last, and how undoing it leaves these rows.
        self._moved: tuple[str, Rows, bool] = ("", np.arange(0), True)
        self.told = ""
        self._reader = Reader()
        self._reader.failed.connect(lambda error: self.failed.emit(sentence(error)))
        self._set: ReferenceSet | None = None

    def close(self) -> None:
        """For a dock that is closed."""
        self._reader.close()

    @property
    def folder(self) -> Path | None:
        return self.overview.folder if self.overview is not None else None

    # Opening

    def open(self, folder: Path, told: str = "") -> None:
        """Open a set, or read the open one again; `told` is what the worker did to it just now."""
        self.told = told
        self._reader.ask(lambda: self._opened(folder), self._show)

    def leave(self) -> None:
        """Have no set open."""
        self.told = ""
        self._show(None)

    def _opened(self, folder: Path) -> Overview:
        from ...reference.store import ReferenceSet

        # A set that cannot be opened leaves none open: rows of another would be shown as its own.
        self._set = None
        self._set = ReferenceSet.open(folder)
        return overview_of(self._set)

    def _show(self, overview: Overview | None) -> None:
        self.overview = overview
        self.shown.emit(overview)

    def ask(self, work: "Callable[[ReferenceSet], Any]", then: Callable[[Any], None]) -> None:
        """Read something from the open set; `then` gets it in the GUI thread."""

        def read() -> Any:
            if self._set is None:
                raise ReferenceSetError(Path(), "No reference set is open: choose one above.")
            return work(self._set)

        self._reader.ask(read, then)

    def entries(self, rows: Rows, then: Callable[[tuple[Entry, ...]], None]) -> None:
        """Records and pictures of rows."""
        self.ask(lambda held: entries_of(held, rows), then)

    # Changing

    def switch(self, rows: Sequence[int], on: bool) -> None:
        """Let rows count or not, from the next run on."""
        wanted = np.asarray(rows, np.int64)

        def work(held: "ReferenceSet") -> tuple[Overview, Rows]:
            changed = [r.row for r in held.records(wanted) if r.enabled != on]
            moved = np.asarray(changed, np.int64)
            if len(moved):
                held.switch(moved, on)
            return overview_of(held), moved

        def then(answer: tuple[Overview, Rows]) -> None:
            overview, moved = answer
            if len(moved):
                self.told = f"{counted(len(moved), 'segment')} switched {'on' if on else 'off'}"
                self._moved = (self.told, moved, not on)
                self.switched.emit(moved, on)
            self._show(overview)

        self.ask(work, then)

    def merge(self, folder: Path) -> None:
        """Take the segments of another set into this one."""

        def work(held: "ReferenceSet") -> tuple[Overview, int, int]:
            from ...reference.metric import fit_set
            from ...reference.store import ReferenceSet

            before, digest = {s.hash for s in held.sources()}, held.digest
            given = ReferenceSet.open(folder)
            new = {s.hash for s in given.sources()}
            with held.one_step():
                held.merge(given)
                if held.digest != digest:
                    held.put_metric(fit_set(held))
            return overview_of(held), len(new - before), len(new & before)

        def then(answer: tuple[Overview, int, int]) -> None:
            overview, fresh, both = answer
            self.told = f"{folder.name} merged"
            self._show(overview)
            known = f"; {counted(both, 'image')} stood in both" if both else ""
            self.said.emit(f"{folder.name} brought {counted(fresh, 'new image')}{known}.")

        self.ask(work, then)

    def undo(self) -> None:
        """Take the last change of this window back."""
        told, self.told = self.told, ""

        def work(held: "ReferenceSet") -> Overview:
            held.undo()
            return overview_of(held)

        def then(overview: Overview) -> None:
            if self._moved[0] == told:
                self.switched.emit(*self._moved[1:])
            self._show(overview)
            self.said.emit(f"Undone: {told}.")

        if told:
            self.ask(work, then)


def overview_of(held: "ReferenceSet") -> Overview:
    """What the dock shows of a set; reads it, so call it off the GUI thread."""
    sources = held.sources()
    return Overview(
        Path(held.folder),
        held.name,
        Encoder.parse(held.encoder.name),
        held.n_segments,
        held.n_images,
        held.digest,
        tuple(held.class_stats()),
        held.cleaned,
        tuple(sorted({s.licence for s in sources if s.licence})),
        frozenset(s.hash for s in sources),
        held.text.name if held.text else "",
    )


def entries_of(held: "ReferenceSet", rows: Rows) -> tuple[Entry, ...]:
    """Records and pictures of rows, in their order."""
    return tuple(map(Entry, held.records(rows), held.thumbnails(rows)))

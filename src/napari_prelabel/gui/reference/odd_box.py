"""Odd ones: segments of one's own that look unlike their class; often a slip of the brush."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtWidgets import QWidget

from ..parts.pieces import button, column, counted, label
from .entries import EntryList, Line
from .shelf import Entry, Shelf

if TYPE_CHECKING:
    from ...reference.odd import Odd
    from ...reference.store import ReferenceSet

MOST = 20
HELP = "Segments that look unlike the others of their class: look at each, they are often slips."
NONE = "No segment looks out of place among those of its class."


class OddBox(QWidget):
    """Lists the oddest segments of the open set."""

    def __init__(self, shelf: Shelf) -> None:
        super().__init__()
        self._shelf = shelf
        self.help = label(HELP, "muted")
        self.button = button("Look for odd ones", "Compares every segment with its class", self.ask)
        self.told = label(role="head")
        self.list = EntryList()
        rows = column(self, 0)
        for widget in (self.help, self.button, self.told, self.list):
            rows.addWidget(widget)
        shelf.switched.connect(lambda rows, _: self._switched(rows))
        self.clear()

    def clear(self) -> None:
        """Another set is shown."""
        self.told.hide()
        self.list.show_lines(())

    def ask(self) -> None:
        """Look through the open set."""
        self.told.setText("Looking …")
        self.told.show()
        self._shelf.ask(_found, self._show)

    def _show(self, found: "tuple[tuple[Odd, ...], tuple[Entry, ...]]") -> None:
        odd, entries = found
        self.told.setText(f"{counted(len(odd), 'odd one')}:" if odd else NONE)
        self.list.show_lines(
            [
                Line(entry, o.word, f"{entry.record.source.name}, {o.score:.1f}× the usual spread")
                for o, entry in zip(odd, entries, strict=True)
            ]
        )

    def _switched(self, rows: "np.ndarray[tuple[int], np.dtype[np.int64]]") -> None:
        listed = self.list.rows_of(rows)
        if len(listed):
            self._shelf.entries(listed, self._again)

    def _again(self, entries: Sequence[Entry]) -> None:
        self.list.again(entries)


def _found(held: "ReferenceSet") -> "tuple[tuple[Odd, ...], tuple[Entry, ...]]":
    from ...reference.odd import odd_ones
    from .shelf import entries_of

    odd = odd_ones(held, MOST)
    return odd, entries_of(held, np.asarray([o.row for o in odd], np.int64))

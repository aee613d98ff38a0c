"""Segments one below the other, each with its picture, what is said of it, and its switch."""

from collections.abc import Sequence
from dataclasses import dataclass

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QFrame, QLabel, QVBoxLayout, QWidget
from superqt import QElidingLabel

from ..parts import button, column, row
from .gallery import about, pixmap
from .shelf import Entry, Rows

PICTURE = 40


@dataclass(frozen=True, slots=True, eq=False)
class Line:
    """head, below : two lines of text beside the picture of an entry."""

    entry: Entry
    head: str
    below: str


class _Card(QFrame):
    """One segment."""

    def __init__(self, line: Line) -> None:
        super().__init__()
        self.setProperty("role", "card")
        self.line = line
        picture = QLabel()
        picture.setFixedSize(PICTURE, PICTURE)
        picture.setAlignment(Qt.AlignmentFlag.AlignCenter)
        shown = pixmap(line.entry.picture)
        if not shown.isNull():
            how = Qt.AspectRatioMode.KeepAspectRatio, Qt.TransformationMode.SmoothTransformation
            picture.setPixmap(shown.scaled(PICTURE, PICTURE, *how))
        head, below = QElidingLabel(line.head), QElidingLabel(line.below)
        head.setProperty("role", "head")
        below.setProperty("role", "muted")
        texts = QVBoxLayout()
        texts.setSpacing(0)
        texts.addWidget(head)
        texts.addWidget(below)
        self.switch_button = button("", "Takes effect at the next run", lambda: None, "link")
        self.show_button = button("Show", "Move to this place, if its image is open",
                                  lambda: None, "link")  # fmt: skip
        body = row(picture, stretch=-1)
        body.setContentsMargins(4, 4, 4, 4)
        body.setStretch(0, 0)
        body.addLayout(texts, 1)
        body.addWidget(self.show_button)
        body.addWidget(self.switch_button)
        self.setLayout(body)
        self.set_entry(line.entry)

    def set_entry(self, entry: Entry) -> None:
        """The same segment after a switch."""
        self.entry = entry
        self.switch_button.setText("Switch off" if entry.record.enabled else "Switch on")
        self.setToolTip(about(entry))


class EntryList(QWidget):
    """`switch` brings (rows, on), `show_source` an Entry."""

    switch = Signal(object, bool)
    show_source = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self.cards: list[_Card] = []
        self._rows = column(self, 0)
        self._rows.setSpacing(3)

    def show_lines(self, lines: Sequence[Line]) -> None:
        """Replace the list."""
        for card in self.cards:
            self._rows.removeWidget(card)
            card.deleteLater()
        self.cards = [self._card(line) for line in lines]
        self.setVisible(bool(lines))

    def _card(self, line: Line) -> _Card:
        card = _Card(line)
        card.switch_button.clicked.connect(
            lambda: self.switch.emit([card.entry.record.row], not card.entry.record.enabled)
        )
        card.show_button.clicked.connect(lambda: self.show_source.emit(card.entry))
        self._rows.addWidget(card)
        return card

    def rows_of(self, rows: Rows) -> Rows:
        """Those of the rows that are listed."""
        listed = [card.entry.record.row for card in self.cards]
        return rows[[int(r) in listed for r in rows]] if len(rows) else rows

    def again(self, entries: Sequence[Entry]) -> None:
        """Entries that were switched."""
        fresh = {e.record.row: e for e in entries}
        for card in self.cards:
            if card.entry.record.row in fresh:
                card.set_entry(fresh[card.entry.record.row])

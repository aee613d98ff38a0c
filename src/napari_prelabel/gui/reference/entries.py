"""Segments one below the other, each with its picture, what is said of it, and its switch."""

from collections.abc import Sequence
from dataclasses import dataclass

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QFrame, QLabel, QVBoxLayout, QWidget
from superqt import QElidingLabel

from ..parts.pieces import button, column, row
from .gallery import about, pixmap
from .shelf import Entry, Rows

PICTURE = 40


@dataclass(frozen=True, slots=True, eq=False)
class Line:
    """head, below : two lines of text beside the picture of an entry."""

    entry: Entry
    head: str
    below: str


@dataclass(frozen=True, slots=True, eq=False)
class EntryGroup:
    """Entries of one image. title : of the group, "" for entries without a heading."""

    title: str
    lines: Sequence[Line]


class _Head(QFrame):
    """What a group is, and a switch for all of it."""

    def __init__(self, title: str, cards: "list[_Card]") -> None:
        super().__init__()
        self.cards = cards
        self.title = QElidingLabel(title)
        self.title.setToolTip(title)
        self.title.setProperty("role", "head")
        self.switch_button = button("", "Takes effect at the next run", lambda: None, "link")
        body = row(self.title, self.switch_button, stretch=0)
        body.setContentsMargins(0, 4, 4, 0)
        self.setLayout(body)
        self.tell()

    @property
    def on(self) -> bool:
        """Whether any of the group counts."""
        return any(card.entry.record.enabled for card in self.cards)

    def tell(self) -> None:
        self.switch_button.setText("Switch all off" if self.on else "Switch all on")


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
        self.heads: list[_Head] = []
        self._rows = column(self, 0)
        self._rows.setSpacing(3)

    def show_lines(self, lines: Sequence[Line]) -> None:
        """Replace the list."""
        self.show_groups([EntryGroup("", lines)])

    def show_groups(self, groups: Sequence[EntryGroup]) -> None:
        """Replace the list; each group has a heading with a switch for all of it."""
        old: QWidget
        for old in (*self.heads, *self.cards):
            self._rows.removeWidget(old)
            old.deleteLater()
        self.cards, self.heads = [], []
        for group in groups:
            cards = [self._card(line) for line in group.lines]
            if group.title:
                head = self._head(group.title, cards)
                self._rows.insertWidget(self._rows.indexOf(cards[0]), head)
            self.cards += cards
        self.setVisible(bool(self.cards))

    def _head(self, title: str, cards: list[_Card]) -> _Head:
        head = _Head(title, cards)
        head.switch_button.clicked.connect(
            lambda: self.switch.emit([card.entry.record.row for card in cards], not head.on)
        )
        self.heads.append(head)
        return head

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
        for head in self.heads:
            head.tell()

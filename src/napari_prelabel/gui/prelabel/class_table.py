"""The table beneath the words: what each class is, has and shows. It is the legend, too."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from qtpy.QtCore import QAbstractTableModel, QModelIndex, Qt, Signal
from qtpy.QtGui import QColor
from qtpy.QtWidgets import QAbstractItemView, QColorDialog, QHeaderView, QTableView

from ...annotation.history import KEPT
from ...values.colours import BLACK, distinct
from ...values.errors import VocabularyError
from ...values.vocabulary import Class, key

COLUMNS = ("", "id", "class", "pixels", "show", "only", "lock")
SHORT_FROM = 10_000_000
COLOUR, ID, NAME, PIXELS, SHOW, ONLY, LOCK = range(7)
TIPS = (
    "Click to choose the colour of this class",
    "The number in the exported files; it follows the order of the lines",
    "Click to paint with this class",
    "Pixels that show this class now",
    "Untick to hide this class on the canvas; the labels stay as they are",
    "Tick to show this class alone, untick to show all",
    "Tick to keep this class as it is now: runs write nothing over its pixels",
)
ROWS_SHOWN = 7
SORT_TIP = "\n\nClick this heading to sort by it"
# What rows can be sorted by; kept classes have ids of their own and come behind.
ORDERS: dict[int, Callable[["Row"], Any]] = {
    ID: lambda r: (r.kept, r.entry.id),
    NAME: lambda r: r.entry.name.casefold(),
    PIXELS: lambda r: (-(r.pixels or 0), r.kept, r.entry.id),
}


@dataclass(slots=True)
class Row:
    """One class as the table shows it; `kept` classes are no longer among the typed words."""

    entry: Class
    colour: str
    pixels: int | None = None
    shown: bool = True
    locked: bool = False
    kept: bool = False


class ClassModel(QAbstractTableModel):
    """Rows by class name: ticks and colours stay with the name when lines move."""

    ticked = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[Row] = []
        self._order, self._sorted = ID, True
        self._colours: dict[str, str] = {}
        self._seen: dict[str, str] = {}
        self._hidden: set[str] = set()
        self._locked: set[str] = set()

    def set_classes(
        self, typed: list[Class], kept: list[Class], canvas: Mapping[str, str] | None = None
    ) -> None:
        """Show these classes; `kept` come last.

        canvas : the colours in which classes are drawn now, by name. Colours that a person chose
            come first, then those on the canvas, in this table, and in it earlier; no two rows
            have one colour.
        """
        entries = [*typed, *kept]
        names = [_known(c.name) for c in entries]
        drawn = {_known(name): colour for name, colour in (canvas or {}).items()}
        rows = {_known(r.entry.name): r.colour for r in self.rows}
        own = [c.colour for c in typed] + [""] * len(kept)
        chosen = [mine or self._colours.get(n, "") for mine, n in zip(own, names, strict=True)]
        before = ([known.get(n, "") for n in names] for known in (drawn, rows, self._seen))
        colours = distinct(chosen, *before)
        self._seen |= dict(zip(names, colours, strict=True))
        self.beginResetModel()
        self.rows = [
            self._row(c, colour, at >= len(typed))
            for at, (c, colour) in enumerate(zip(entries, colours, strict=True))
        ]
        self._sorted = self._order == ID
        if self._order == NAME:
            self.rows.sort(key=ORDERS[NAME])
        self.endResetModel()

    def sort_by(self, column: int) -> None:
        """Sort the rows by id, name or pixels; a stroke later on does not move them."""
        if column in ORDERS:
            self._order, self._sorted = column, True
            self.beginResetModel()
            self.rows.sort(key=ORDERS[column])
            self.endResetModel()

    def _row(self, entry: Class, colour: str, kept: bool) -> Row:
        known = _known(entry.name)
        shown, locked = known not in self._hidden, known in self._locked
        return Row(entry, colour, None, shown, locked, kept)

    def set_counts(self, counts: Mapping[str, int]) -> None:
        """Fill in the pixels of each class by name; classes not named show none."""
        for row in self.rows:
            row.pixels = counts.get(row.entry.name)
        if self._order == PIXELS and not self._sorted:
            self.sort_by(PIXELS)
        elif self.rows:
            self.dataChanged.emit(self.index(0, PIXELS), self.index(len(self.rows) - 1, PIXELS))

    @property
    def hidden(self) -> frozenset[str]:
        return frozenset(r.entry.name for r in self.rows if not r.shown)

    @property
    def locked(self) -> frozenset[str]:
        return frozenset(r.entry.name for r in self.rows if r.locked)

    @property
    def colours(self) -> dict[str, str]:
        """Colour `#rrggbb` of every class by name."""
        return {r.entry.name: r.colour for r in self.rows}

    @property
    def chosen_colours(self) -> dict[str, str]:
        """Only the colours the person chose in the table."""
        names = [r.entry.name for r in self.rows if _known(r.entry.name) in self._colours]
        return {name: self._colours[_known(name)] for name in names}

    def set_colour(self, number: int, colour: str) -> None:
        """Give a row another colour; VocabularyError where another class has it."""
        others = [r for at, r in enumerate(self.rows) if at != number and r.colour == colour]
        if others or colour == BLACK:
            owner = others[0].entry.name if others else "what has no label"
            raise VocabularyError(f"{colour} is the colour of {owner}: choose another.")
        self.rows[number].colour = colour
        self._colours[_known(self.rows[number].entry.name)] = colour
        self.dataChanged.emit(self.index(number, COLOUR), self.index(number, COLOUR))

    # Qt asks these

    def rowCount(self, parent: QModelIndex | None = None) -> int:
        return 0 if parent is not None and parent.isValid() else len(self.rows)

    def columnCount(self, parent: QModelIndex | None = None) -> int:
        return 0 if parent is not None and parent.isValid() else len(COLUMNS)

    def headerData(self, section: int, orientation: Any, role: int = 0) -> Any:
        if orientation != Qt.Orientation.Horizontal:
            return None
        if role == Qt.ItemDataRole.DisplayRole:
            return COLUMNS[section]
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return _side(section)
        if role == Qt.ItemDataRole.ToolTipRole:
            return f"{TIPS[section]}{SORT_TIP if section in ORDERS else ''}"
        return None

    def data(self, index: QModelIndex, role: int = 0) -> Any:
        row, at = self.rows[index.row()], index.column()
        if role == Qt.ItemDataRole.DisplayRole:
            return _text(row, at)
        if role == Qt.ItemDataRole.DecorationRole and at == COLOUR:
            return QColor(row.colour)
        if role == Qt.ItemDataRole.CheckStateRole and at in (SHOW, ONLY, LOCK):
            on = self._alone(row) if at == ONLY else row.shown if at == SHOW else row.locked
            return Qt.CheckState.Checked if on else Qt.CheckState.Unchecked
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return _side(at)
        if role == Qt.ItemDataRole.ToolTipRole:
            return _tip(row, at)
        return None

    def setData(self, index: QModelIndex, value: Any, role: int = 0) -> bool:
        if role != Qt.ItemDataRole.CheckStateRole:
            return False
        row = self.rows[index.row()]
        on = Qt.CheckState(value) == Qt.CheckState.Checked
        if index.column() == LOCK:
            row.locked = on
            _remember(self._locked, row.entry.name, on)
        else:
            others = [r for r in self.rows if r is not row] if index.column() == ONLY else []
            self._show([row], on or index.column() == ONLY)
            self._show(others, not on)
        self.dataChanged.emit(self.index(0, SHOW), self.index(len(self.rows) - 1, LOCK))
        self.ticked.emit()
        return True

    def _show(self, rows: list[Row], on: bool) -> None:
        for row in rows:
            row.shown = on
            _remember(self._hidden, row.entry.name, not on)

    def _alone(self, row: Row) -> bool:
        return len(self.rows) > 1 and [r for r in self.rows if r.shown] == [row]

    def flags(self, index: QModelIndex) -> Any:
        flags = Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsSelectable
        if index.column() in (SHOW, ONLY, LOCK):
            flags |= Qt.ItemFlag.ItemIsUserCheckable
        return flags


# Of text to the sides of its cell: the style sheet's padding, and a frame for the focus.
CELL_MARGIN = 16


class ClassTable(QTableView):
    """The view: a click on a colour changes it, a click on a name picks it for painting."""

    picked = Signal(str)
    changed = Signal()
    refused = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self.classes = ClassModel()
        self.setModel(self.classes)
        self.setAccessibleName("Classes")
        self.verticalHeader().hide()
        self.verticalHeader().setDefaultSectionSize(self.fontMetrics().height() + 8)
        self.setShowGrid(False)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setTabKeyNavigation(False)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        header = self.horizontalHeader()
        header.setHighlightSections(False)
        header.setSectionsClickable(True)
        header.sectionClicked.connect(self.classes.sort_by)
        header.setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        header.setSectionResizeMode(NAME, QHeaderView.ResizeMode.Stretch)
        header.setMinimumSectionSize(16)
        em = self.fontMetrics().horizontalAdvance("0")
        for at, wide in (
            (COLOUR, 2.8),
            (PIXELS, 9),
            (SHOW, 5),
            (ONLY, 4.3),
            (LOCK, 4.3),
        ):
            self.setColumnWidth(at, round(em * wide))
        self.clicked.connect(self._clicked)
        self.classes.modelReset.connect(self._fit)
        self.classes.ticked.connect(self.changed)
        self._fit()

    def _fit(self) -> None:
        highest = max((row.entry.id for row in self.classes.rows), default=0)
        digits = self.fontMetrics().horizontalAdvance("0" * max(2, len(str(highest))))
        self.setColumnWidth(ID, digits + CELL_MARGIN)
        rows = min(max(len(self.classes.rows), 1), ROWS_SHOWN)
        height = self.verticalHeader().defaultSectionSize() * rows
        self.setFixedHeight(height + self.horizontalHeader().sizeHint().height() + 6)
        self.setVisible(bool(self.classes.rows))

    def _clicked(self, index: QModelIndex) -> None:
        if index.column() == COLOUR:
            self._ask_colour(index.row())
        elif index.column() in (ID, NAME, PIXELS):
            self.picked.emit(self.classes.rows[index.row()].entry.name)

    def _ask_colour(self, number: int) -> None:
        row = self.classes.rows[number]
        title = f"Colour of {row.entry.name}"
        colour = QColorDialog.getColor(QColor(row.colour), self, title)
        if colour.isValid():
            self._give(number, colour.name())

    def _give(self, number: int, colour: str) -> None:
        try:
            self.classes.set_colour(number, colour)
        except VocabularyError as error:
            self.refused.emit(str(error))
            return
        self.changed.emit()


def _side(at: int) -> int:
    right = at in (ID, PIXELS)
    side = Qt.AlignmentFlag.AlignRight if right else Qt.AlignmentFlag.AlignLeft
    return int(side | Qt.AlignmentFlag.AlignVCenter)


def _text(row: Row, at: int) -> str | None:
    if at == ID:
        return str(row.entry.id)
    if at == NAME:
        return f"{row.entry.name.removesuffix(KEPT)}{KEPT}" if row.kept else row.entry.name
    if at == PIXELS:
        return "" if row.pixels is None else _short(row.pixels)
    return None


def _short(pixels: int) -> str:
    """A count that fits its column; the tooltip has the whole of a large one."""
    return f"{pixels:,}" if pixels < SHORT_FROM else f"{pixels / 1e6:,.1f} M"


def _tip(row: Row, at: int) -> str:
    if at == PIXELS and row.pixels is not None and row.pixels >= SHORT_FROM:
        return f"{row.pixels:,}\n{TIPS[at]}"
    if at != NAME:
        return TIPS[at]
    if row.kept:
        return "No longer among the words, but pixels you keep still hold it"
    words = ", ".join(row.entry.synonyms)
    told = f"{row.entry.name}, also searched as: {words}" if words else row.entry.name
    return f"{told}\n{TIPS[at]}"


def _known(name: str) -> str:
    """What a class is remembered by: kept behind the words or not, it is the same class."""
    return key(name.removesuffix(KEPT))


def _remember(names: set[str], name: str, on: bool) -> None:
    names.add(_known(name)) if on else names.discard(_known(name))

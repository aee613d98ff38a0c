"""A small table made from a list of columns: what it says, which column ticks."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from qtpy.QtCore import QAbstractTableModel, QModelIndex, Qt, Signal
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QTableView


@dataclass(frozen=True, slots=True)
class Column:
    """One column. wide : in characters, 0 takes the room that is left.

    text, tip : what a row says here. ticked : for a column of boxes, whether a row's is ticked.
    """

    title: str
    text: Callable[[Any], str]
    about: str = ""
    wide: int = 0
    right: bool = False
    tip: Callable[[Any], str] | None = None
    ticked: Callable[[Any], bool] | None = None
    usable: Callable[[Any], bool] = lambda _: True
    colour: Callable[[Any], Any] = lambda _: None


class RowsModel(QAbstractTableModel):
    """The rows behind the table; `ticked` brings (row, on)."""

    ticked = Signal(object, bool)

    def __init__(self, columns: Sequence[Column]) -> None:
        super().__init__()
        self.columns = tuple(columns)
        self.rows: list[Any] = []

    def show(self, rows: Sequence[Any]) -> None:
        """Replace the rows."""
        self.beginResetModel()
        self.rows = list(rows)
        self.endResetModel()

    def tell(self) -> None:
        """The same rows say something else now."""
        if self.rows:
            last = self.index(len(self.rows) - 1, len(self.columns) - 1)
            self.dataChanged.emit(self.index(0, 0), last)

    # Qt asks these

    def rowCount(self, parent: QModelIndex | None = None) -> int:
        return 0 if parent is not None and parent.isValid() else len(self.rows)

    def columnCount(self, parent: QModelIndex | None = None) -> int:
        return 0 if parent is not None and parent.isValid() else len(self.columns)

    def headerData(self, section: int, orientation: Any, role: int = 0) -> Any:
        if orientation != Qt.Orientation.Horizontal:
            return None
        column = self.columns[section]
        if role == Qt.ItemDataRole.DisplayRole:
            return column.title
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return _side(column)
        return column.about if role == Qt.ItemDataRole.ToolTipRole else None

    def data(self, index: QModelIndex, role: int = 0) -> Any:
        row, column = self.rows[index.row()], self.columns[index.column()]
        if role == Qt.ItemDataRole.DisplayRole:
            return column.text(row)
        if role == Qt.ItemDataRole.CheckStateRole and column.ticked is not None:
            on = column.ticked(row)
            return Qt.CheckState.Checked if on else Qt.CheckState.Unchecked
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return _side(column)
        if role == Qt.ItemDataRole.DecorationRole:
            return column.colour(row)
        if role == Qt.ItemDataRole.ToolTipRole:
            tip = column.tip(row) if column.tip is not None else column.about
            text = column.text(row)
            # A column without a width of its own cuts what is too long.
            return tip if column.wide or text in tip else f"{text}\n{tip}"
        return None

    def setData(self, index: QModelIndex, value: Any, role: int = 0) -> bool:
        if role != Qt.ItemDataRole.CheckStateRole:
            return False
        on = Qt.CheckState(value) == Qt.CheckState.Checked
        self.ticked.emit(self.rows[index.row()], on)
        self.dataChanged.emit(index, index)
        return True

    def flags(self, index: QModelIndex) -> Any:
        row, column = self.rows[index.row()], self.columns[index.column()]
        if not column.usable(row):
            return Qt.ItemFlag.NoItemFlags
        flags = Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsSelectable
        return flags | Qt.ItemFlag.ItemIsUserCheckable if column.ticked is not None else flags


class RowsView(QTableView):
    """The view: as high as its rows, up to `most` of them; `chosen` brings a clicked row."""

    chosen = Signal(object)

    def __init__(self, name: str, columns: Sequence[Column], most: int = 7) -> None:
        super().__init__()
        self._most = most
        self.model_ = RowsModel(columns)
        self.setModel(self.model_)
        self.setAccessibleName(name)
        self.verticalHeader().hide()
        self.verticalHeader().setDefaultSectionSize(self.fontMetrics().height() + 8)
        self.setShowGrid(False)
        self.setWordWrap(False)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setTabKeyNavigation(False)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        header = self.horizontalHeader()
        header.setHighlightSections(False)
        header.setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        header.setMinimumSectionSize(16)
        em = self.fontMetrics().horizontalAdvance("0")
        for at, column in enumerate(columns):
            if column.wide:
                self.setColumnWidth(at, em * column.wide)
            else:
                header.setSectionResizeMode(at, QHeaderView.ResizeMode.Stretch)
        self.selectionModel().currentRowChanged.connect(self._moved)
        self.model_.modelReset.connect(self._fit)
        self._fit()

    @property
    def rows(self) -> list[Any]:
        return self.model_.rows

    def show_rows(self, rows: Sequence[Any]) -> None:
        """Replace the rows; the table hides when there are none."""
        self.model_.show(rows)

    def choose(self, number: int) -> None:
        """Select a row as a click does."""
        self.setCurrentIndex(self.model_.index(number, 0))

    def _moved(self, index: QModelIndex, _: QModelIndex) -> None:
        if index.isValid():
            self.chosen.emit(self.rows[index.row()])

    def _fit(self) -> None:
        shown = min(max(len(self.rows), 1), self._most)
        height = self.verticalHeader().defaultSectionSize() * shown
        self.setFixedHeight(height + self.horizontalHeader().sizeHint().height() + 6)
        self.setVisible(bool(self.rows))


def _side(column: Column) -> int:
    side = Qt.AlignmentFlag.AlignRight if column.right else Qt.AlignmentFlag.AlignLeft
    return int(side | Qt.AlignmentFlag.AlignVCenter)

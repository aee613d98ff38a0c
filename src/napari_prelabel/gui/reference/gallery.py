"""The segments of one class as small pictures; only what is in view is read."""

from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime
from typing import Any

import numpy as np
from qtpy.QtCore import QAbstractListModel, QEvent, QModelIndex, QRect, QSize, Qt, Signal
from qtpy.QtGui import QColor, QPainter, QPixmap
from qtpy.QtWidgets import QListView, QStyle, QStyledItemDelegate, QStyleOptionViewItem

from ..parts.pieces import plain_font
from .shelf import Entry, Rows

CELL = QSize(80, 98)
PICTURE = 64
TICK = 15
PAGE = 48
KEPT = 1500
STEP = 600
ROWS_SHOWN = 2
Ask = Callable[[Rows, Callable[[tuple[Entry, ...]], None]], None]
_ENTRY = int(Qt.ItemDataRole.UserRole)


class Pictures(QAbstractListModel):
    """Rows of a set; asks for the records of a page when one of them comes into view."""

    switched = Signal(object, bool)

    def __init__(self, ask: Ask) -> None:
        super().__init__()
        self._ask = ask
        self.rows: Rows = np.zeros(0, np.int64)
        self._open = 0
        self._kept: OrderedDict[int, tuple[Entry, QPixmap]] = OrderedDict()
        self._asked: set[int] = set()
        self._turn = 0

    def show(self, rows: Rows) -> None:
        """Replace the rows."""
        self.beginResetModel()
        self.rows, self._open = rows, min(len(rows), STEP)
        self._kept.clear()
        self._asked.clear()
        self._turn += 1
        self.endResetModel()

    def forget(self, rows: Rows) -> None:
        """Rows changed: read them again, wherever they are shown."""
        for row in rows:
            self._kept.pop(int(row), None)
        self._asked.clear()
        if self._open:
            self.dataChanged.emit(self.index(0), self.index(self._open - 1))

    def entry(self, index: QModelIndex) -> Entry | None:
        """The record at a place, None while it has not come."""
        kept = self._kept.get(int(self.rows[index.row()]))
        return kept[0] if kept is not None else None

    # Qt asks these

    def rowCount(self, parent: QModelIndex | None = None) -> int:
        return 0 if parent is not None and parent.isValid() else self._open

    def canFetchMore(self, _: QModelIndex) -> bool:
        return self._open < len(self.rows)

    def fetchMore(self, parent: QModelIndex) -> None:
        more = min(len(self.rows) - self._open, STEP)
        self.beginInsertRows(parent, self._open, self._open + more - 1)
        self._open += more
        self.endInsertRows()

    def data(self, index: QModelIndex, role: int = 0) -> Any:
        if role not in (_ENTRY, Qt.ItemDataRole.DecorationRole, Qt.ItemDataRole.ToolTipRole):
            return None
        kept = self._kept.get(int(self.rows[index.row()]))
        if kept is None:
            self._fetch(index.row() // PAGE)
            return None
        entry, picture = kept
        if role == Qt.ItemDataRole.ToolTipRole:
            return about(entry)
        return entry if role == _ENTRY else picture

    def _fetch(self, page: int) -> None:
        if page in self._asked:
            return
        self._asked.add(page)
        turn, first = self._turn, page * PAGE
        self._ask(self.rows[first : first + PAGE], lambda found: self._take(turn, page, found))

    def _take(self, turn: int, page: int, found: tuple[Entry, ...]) -> None:
        if turn != self._turn:
            return
        for entry in found:
            self._kept[entry.record.row] = entry, pixmap(entry.picture)
        while len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        # A page that was let go is asked for again when it comes back into view.
        self._asked.discard(page)
        last = min(page * PAGE + PAGE, self._open) - 1
        self.dataChanged.emit(self.index(page * PAGE), self.index(last))


class _Cell(QStyledItemDelegate):
    """A picture, its tick and the name of its image."""

    toggled = Signal(QModelIndex)

    def sizeHint(self, _: QStyleOptionViewItem, __: QModelIndex) -> QSize:
        return CELL

    def paint(self, painter: QPainter, option: Any, index: QModelIndex) -> None:
        entry, picture = index.data(_ENTRY), index.data(Qt.ItemDataRole.DecorationRole)
        painter.save()
        if option.state & QStyle.StateFlag.State_Selected:
            painter.fillRect(option.rect.adjusted(1, 1, -1, -1), option.palette.highlight())
        place = _picture_rect(option.rect)
        if entry is None:
            painter.setPen(option.palette.mid().color())
            painter.drawRect(place.adjusted(12, 12, -12, -12))
            painter.restore()
            return
        painter.setOpacity(1.0 if entry.record.enabled else 0.25)
        size = picture.size().scaled(place.size(), Qt.AspectRatioMode.KeepAspectRatio)
        at = QRect(place.topLeft(), size)
        at.moveCenter(place.center())
        painter.drawPixmap(at, picture)
        painter.setOpacity(1.0)
        _tick(painter, _tick_rect(option.rect), entry.record.enabled)
        self._name(painter, option, entry)
        painter.restore()

    def _name(self, painter: QPainter, option: Any, entry: Entry) -> None:
        below = option.rect.adjusted(4, PICTURE + 12, -4, -4)
        painter.setFont(plain_font(option.font, 0.85))
        painter.setPen(option.palette.text().color())
        name = painter.fontMetrics().elidedText(
            entry.record.source.name, Qt.TextElideMode.ElideMiddle, below.width()
        )
        painter.drawText(below, int(Qt.AlignmentFlag.AlignHCenter), name)

    def editorEvent(self, event: Any, _: Any, option: Any, index: QModelIndex) -> bool:
        """One click on the tick switches the segment."""
        if event.type() not in (QEvent.Type.MouseButtonRelease, QEvent.Type.MouseButtonDblClick):
            return False
        if not _tick_rect(option.rect).adjusted(-4, -4, 4, 4).contains(event.position().toPoint()):
            return False
        if event.type() == QEvent.Type.MouseButtonRelease:
            self.toggled.emit(index)
        return True


class Gallery(QListView):
    """`switch` brings (rows, on) when ticked; `chosen` the Entry that was clicked."""

    switch = Signal(object, bool)
    chosen = Signal(object)

    def __init__(self, ask: Ask) -> None:
        super().__init__()
        self.pictures = Pictures(ask)
        self._cells = _Cell(self)
        self.setModel(self.pictures)
        self.setItemDelegate(self._cells)
        self.setAccessibleName("Segments of the class")
        self.setFlow(QListView.Flow.LeftToRight)
        self.setWrapping(True)
        self.setResizeMode(QListView.ResizeMode.Adjust)
        self.setUniformItemSizes(True)
        self.setLayoutMode(QListView.LayoutMode.Batched)
        self.setMouseTracking(True)
        self.setVerticalScrollMode(QListView.ScrollMode.ScrollPerPixel)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self._cells.toggled.connect(self._toggle)
        self.selectionModel().currentChanged.connect(lambda now, _: self._choose(now))
        self.clicked.connect(self._choose)

    def show_rows(self, rows: Rows) -> None:
        """Show other segments."""
        self.pictures.show(rows)
        across = max(self.viewport().width() // CELL.width(), 1)
        lines = min(max(-(-len(rows) // across), 1), ROWS_SHOWN)
        self.setFixedHeight(lines * CELL.height() + 8)

    def _choose(self, index: QModelIndex) -> None:
        entry = self.pictures.entry(index) if index.isValid() else None
        if entry is not None:
            self.chosen.emit(entry)

    def _toggle(self, index: QModelIndex) -> None:
        entry = self.pictures.entry(index)
        if entry is not None:
            self.switch.emit([entry.record.row], not entry.record.enabled)

    def keyPressEvent(self, event: Any) -> None:
        """The space bar switches the chosen segment."""
        if event.key() == Qt.Key.Key_Space and self.currentIndex().isValid():
            self._toggle(self.currentIndex())
            return
        super().keyPressEvent(event)


def _picture_rect(cell: QRect) -> QRect:
    return QRect(cell.left() + (cell.width() - PICTURE) // 2, cell.top() + 8, PICTURE, PICTURE)


def _tick_rect(cell: QRect) -> QRect:
    return QRect(cell.right() - TICK - 6, cell.top() + 6, TICK, TICK)


def _tick(painter: QPainter, where: QRect, on: bool) -> None:
    """A box that reads on any picture: dark with a white mark."""
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setPen(QColor(255, 255, 255, 220))
    painter.setBrush(QColor(0, 0, 0, 170))
    painter.drawRoundedRect(where, 3, 3)
    if on:
        x, y, s = where.left(), where.top(), where.width()
        painter.drawLine(x + s * 3 // 14, y + s // 2, x + s * 6 // 14, y + s * 10 // 14)
        painter.drawLine(x + s * 6 // 14, y + s * 10 // 14, x + s * 11 // 14, y + s * 4 // 14)


def pixmap(png: bytes) -> QPixmap:
    """A picture from the bytes of a PNG file; an empty one when they are none."""
    made = QPixmap()
    made.loadFromData(png)
    return made


def about(entry: Entry) -> str:
    """All that is known of a segment, a line each."""
    record, source = entry.record, entry.record.source
    y0, x0, y1, x1 = record.segment.box
    words = ", ".join(record.words or record.segment.words)
    lines = [words, f"from {source.name}, {x1 - x0} × {y1 - y0} pixels at ({y0}, {x0})"]
    who = " by " + source.author if source.author else ""
    if when := _day(source.reviewed):
        lines.append(f"reviewed {when}{who}")
    elif who:
        lines.append(f"reviewed{who}")
    lines.append(f"licence: {source.licence}" if source.licence else "no licence told")
    for word, reason in record.dropped:
        lines.append(f"“{word}” was dropped by cleaning ({WHY.get(reason, reason)})")
    if not record.enabled:
        lines.append("switched off: it counts for nothing")
    return "\n".join(lines)


WHY = {"abstract": "an abstract word", "outlier": "an outlier of its class"}


def _day(iso: str) -> str:
    try:
        return datetime.fromisoformat(iso).astimezone().strftime("%d %B %Y").lstrip("0")
    except ValueError:
        return ""

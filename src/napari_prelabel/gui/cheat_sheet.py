"""The cheat sheet: every key of the table in one window that stays while one works."""

from typing import Any

from qtpy.QtCore import Qt
from qtpy.QtGui import QKeySequence
from qtpy.QtWidgets import QDialog, QGridLayout, QLabel, QShortcut, QVBoxLayout, QWidget

from .keys import PLACES, listed
from .parts.pieces import label
from .parts.theme import MARGIN, SPACE, sheet
from .tabs import OURS

TITLE = "Prelabel: keys"
FOOT = "Other keys: File > Preferences > Shortcuts, group “Viewer key bindings”."


class CheatSheet(QDialog):
    """All keys, by where they work; Esc closes it."""

    def __init__(self, parent: QWidget, theme: str) -> None:
        super().__init__(parent)
        self.setObjectName("prelabel_keys")
        self.setWindowTitle(TITLE)
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        body = QWidget()
        body.setObjectName(OURS)
        body.setStyleSheet(sheet(theme))
        grid = QGridLayout(body)
        grid.setContentsMargins(MARGIN, MARGIN, MARGIN, MARGIN)
        grid.setHorizontalSpacing(3 * SPACE)
        grid.setVerticalSpacing(SPACE)
        for place in PLACES:
            grid.addWidget(_plain(place, "head"), grid.rowCount(), 0, 1, 2)
            for keys, does in listed(place):
                at = grid.rowCount()
                grid.addWidget(_plain(keys, "key"), at, 0)
                grid.addWidget(_plain(does), at, 1)
        grid.addWidget(label(FOOT, "muted"), grid.rowCount(), 0, 1, 2)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.setSizeConstraint(QVBoxLayout.SizeConstraint.SetFixedSize)
        outer.addWidget(body)


def _plain(text: str, role: str = "") -> QLabel:
    made = QLabel(text)
    made.setProperty("role", role)
    return made


def show_keys(viewer: Any) -> CheatSheet:
    """Show the keys beside the viewer's window, once."""
    viewer = getattr(viewer, "__wrapped__", viewer)
    window = viewer.window._qt_window
    found: CheatSheet | None = window.findChild(CheatSheet)
    made = found or CheatSheet(window, viewer.theme)
    made.show()
    made.raise_()
    made.activateWindow()
    return made


def listen(dock: QWidget, viewer: Any) -> None:
    """Show the keys on "?", which napari's own bindings cannot tell from other signs.

    Fields that take text take the "?" themselves.
    """
    shortcut = QShortcut(QKeySequence("?"), dock)
    shortcut.setContext(Qt.ShortcutContext.ApplicationShortcut)
    for signal in (shortcut.activated, shortcut.activatedAmbiguously):
        signal.connect(lambda: show_keys(viewer))

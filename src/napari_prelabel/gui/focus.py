"""Where keys go: to the canvas, unless a person types into a field that they chose.

A press in a dock gives the keyboard back to the canvas. Keys with Shift that another widget of the
window would take for a search in its list go to the canvas, too.
"""

import contextlib
from collections.abc import Callable
from typing import Any
from weakref import WeakSet

from qtpy.QtCore import QEvent, QObject, Qt, QTimer
from qtpy.QtWidgets import (
    QAbstractButton,
    QAbstractItemView,
    QAbstractSlider,
    QAbstractSpinBox,
    QApplication,
    QComboBox,
    QLineEdit,
    QMenu,
    QPlainTextEdit,
    QTextEdit,
    QWidget,
)

_FIELDS = (QLineEdit, QPlainTextEdit, QTextEdit, QAbstractSpinBox)
_AGAIN_MS = 100


class Focus(QObject):
    """Watches one dock and its viewer's window; `leave` ends it.

    words : the field in which Ctrl+Enter does `run`. In every field of the dock Esc leaves.
    """

    def __init__(self, dock: QWidget, viewer: Any, words: QWidget, run: Callable[[], Any]) -> None:
        super().__init__(dock)
        self._dock, self._viewer, self._words, self._run = dock, viewer, words, run
        self._watched: WeakSet[QAbstractButton] = WeakSet()
        self._keys = _Keys(self, viewer)
        for widget in dock.findChildren(QWidget):
            self._watch(widget)
        app = QApplication.instance()
        assert isinstance(app, QApplication)
        self._app = app
        app.focusChanged.connect(self._moved)
        QTimer.singleShot(0, self, self._begin)

    def _begin(self) -> None:
        """A dock that opens must not take the keyboard by itself."""
        now = self._app.focusWidget()
        if now is None or self._dock.isAncestorOf(now):
            self.give_back()

    def _watch(self, widget: QWidget) -> None:
        if isinstance(widget, QAbstractButton):
            self._watched.add(widget)
            widget.clicked.connect(self._back_soon)
        elif isinstance(widget, QComboBox):
            widget.view().installEventFilter(self)
        elif isinstance(widget, QMenu):
            widget.aboutToHide.connect(self._back_soon)
        elif isinstance(widget, QAbstractItemView):
            widget.viewport().installEventFilter(self)
        elif isinstance(widget, (*_FIELDS, QAbstractSlider)):
            widget.installEventFilter(self)

    def leave(self) -> None:
        """Watch no more, for a dock that is closed."""
        self._app.focusChanged.disconnect(self._moved)
        self._keys.hold(None)

    def give_back(self) -> None:
        """Let the canvas have the keyboard, once no dialog or menu is open."""
        if self._app.activeModalWidget() is not None or self._app.activePopupWidget() is not None:
            QTimer.singleShot(_AGAIN_MS, self, self.give_back)
        else:
            _canvas(self._viewer).setFocus()

    def _back_soon(self) -> None:
        QTimer.singleShot(0, self, self.give_back)

    def eventFilter(self, watched: QObject, event: Any) -> bool:
        """A list was closed, a press has ended that typed nothing, or a field is left."""
        kind = event.type()
        if kind == QEvent.Type.KeyPress and isinstance(watched, _FIELDS):
            return self._leaves(watched, event)
        if kind == QEvent.Type.Hide and isinstance(watched, QAbstractItemView):
            self._back_soon()
        # A spin box's arrows; its text is a line edit of its own.
        pressed = not isinstance(watched, (QLineEdit, QPlainTextEdit, QTextEdit))
        if kind == QEvent.Type.MouseButtonRelease and pressed:
            self._back_soon()
        return False

    def _leaves(self, watched: QObject, event: Any) -> bool:
        if event.key() == Qt.Key.Key_Escape:
            self.give_back()
            return True
        entered = event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter)
        if watched is self._words and entered and event.modifiers() & _CONTROL:
            self._run()
            return True
        return False

    def _moved(self, _: QWidget | None, now: QWidget | None) -> None:
        """Listen to whatever widget of the window has the keyboard and types nothing."""
        if now is not None and now.window() is self._dock.window():
            fresh = isinstance(now, QAbstractButton) and now not in self._watched
            if fresh and self._dock.isAncestorOf(now):
                self._watch(now)
            typed = isinstance(now, _FIELDS) or (isinstance(now, QComboBox) and now.isEditable())
            self._keys.hold(None if typed or now is _canvas(self._viewer) else now)
        else:
            self._keys.hold(None)


_CONTROL = Qt.KeyboardModifier.ControlModifier


class _Keys(QObject):
    """Passes Shift and a letter on to the canvas from the widget that has the keyboard."""

    def __init__(self, parent: QObject, viewer: Any) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._held: QWidget | None = None

    def hold(self, widget: QWidget | None) -> None:
        with contextlib.suppress(RuntimeError):  # the widget has gone
            if self._held is not None:
                self._held.removeEventFilter(self)
        self._held = widget
        if widget is not None:
            widget.installEventFilter(self)

    def eventFilter(self, _: QObject, event: Any) -> bool:
        """Lists and combo boxes would search for the letter."""
        if event.type() != QEvent.Type.KeyPress:
            return False
        letter = Qt.Key.Key_A <= event.key() <= Qt.Key.Key_Z
        if not letter or event.modifiers() != Qt.KeyboardModifier.ShiftModifier:
            return False
        self._viewer.window._qt_viewer.keyPressEvent(event)
        return True


def _canvas(viewer: Any) -> QWidget:
    canvas: QWidget = viewer.window._qt_viewer.canvas.native
    return canvas

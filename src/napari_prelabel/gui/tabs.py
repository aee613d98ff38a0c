"""Our docks share one place of the window as tabs; side by side each would be too low."""

from typing import Any

from qtpy.QtCore import QEvent, QTimer
from qtpy.QtWidgets import QDockWidget, QMainWindow, QWidget

OURS = "prelabel"


class Tab(QWidget):
    """One of our docks: joins the others when it is shown, and leaves when it is closed.

    viewer : napari's own; plugins are handed a wrapper, whose layers are not those that events
    bring.
    """

    def __init__(self, viewer: Any) -> None:
        super().__init__()
        self.viewer = getattr(viewer, "__wrapped__", viewer)
        self.setObjectName(OURS)

    def leave(self) -> None:
        """Let go of the viewer; called once or more when the dock is closed."""

    def changeEvent(self, event: Any) -> None:
        """napari closes a dock by taking it out of its frame."""
        super().changeEvent(event)
        if event.type() != QEvent.Type.ParentChange:
            return
        if self.parent() is None:
            self.leave()
            self.deleteLater()
        else:
            QTimer.singleShot(0, self, lambda: join(self.viewer.window, self))

    def closeEvent(self, event: Any) -> None:
        """A dock that stands alone is closed like any window."""
        super().closeEvent(event)
        self.leave()


def frame_of(widget: QWidget) -> QDockWidget | None:
    """The dock frame that a widget sits in, None before it has one."""
    parent = widget.parentWidget()
    while parent is not None and not isinstance(parent, QDockWidget):
        parent = parent.parentWidget()
    return parent


def join(window: Any, widget: QWidget) -> None:
    """Put a dock on top of another of ours that lies in the same area, if there is one."""
    mine = frame_of(widget)
    others = [w for w in window.dock_widgets.values() if w.objectName() == OURS] if window else []
    main = getattr(window, "_qt_window", None)
    if mine is None or not isinstance(main, QMainWindow) or mine.isFloating():
        return
    for other in others:
        frame = frame_of(other)
        if frame is None or frame is mine or frame.isFloating():
            continue
        if main.dockWidgetArea(frame) == main.dockWidgetArea(mine):
            main.tabifyDockWidget(frame, mine)
            mine.show()
            mine.raise_()
            return


def front(widget: QWidget) -> None:
    """Bring the tab of a dock to the front."""
    frame = frame_of(widget)
    if frame is not None:
        frame.show()
        frame.raise_()

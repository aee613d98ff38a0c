"""Our docks share one place of the window as tabs; side by side each would be too low."""

from typing import Any

from qtpy.QtWidgets import QDockWidget, QMainWindow, QWidget

OURS = "prelabel"


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

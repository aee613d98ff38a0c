"""What napari opens: a frame that stands at once and fills with the dock while the window lives.

The main path: a thread imports the dock's module, then `_go_on` makes the dock part by part and
dresses its widgets, a few milliseconds at a time, and shows it when it is whole.
"""

import importlib
import time
from collections.abc import Iterator
from typing import Any

import napari.viewer
from qtpy.QtCore import QSize, Qt, QTimer
from qtpy.QtWidgets import QLabel, QVBoxLayout, QWidget

from .tabs import Tab
from .threads import Background

SLICE_S, BREATH_MS = 0.008, 4


class DockFrame(Tab):
    """The Pre-label dock in the making, later with the dock inside; `dock` does not wait."""

    def __init__(self, napari_viewer: "napari.viewer.Viewer") -> None:
        super().__init__(napari_viewer)
        self._dock: Any = None
        self._steps: Iterator[None] | None = None
        self._left = self._whole = False
        self.setMinimumWidth(300)
        self._waits = QLabel("Opening …")
        self._waits.setWordWrap(True)
        self._waits.setAlignment(Qt.AlignmentFlag.AlignCenter)
        rows = QVBoxLayout(self)
        rows.setContentsMargins(0, 0, 0, 0)
        rows.addWidget(self._waits)
        self._next = QTimer(self)
        self._next.setSingleShot(True)
        self._next.setInterval(BREATH_MS)
        self._next.timeout.connect(self._go_on)
        self._imports = Background()
        self._imports.done.connect(self._imported)
        self._imports.start(_imported)

    def sizeHint(self) -> QSize:
        """As wide as the dock will be: the canvas is laid out once."""
        return super().sizeHint().expandedTo(QSize(320, 400))

    @property
    def whole(self) -> bool:
        """Whether the dock is made."""
        return self._whole

    @property
    def dock(self) -> Any:
        """The PrelabelDock inside, whole."""
        self._next.stop()
        if self._steps is None:
            self._steps = self._making()
        for _ in self._steps:
            pass
        return self._dock

    def _imported(self, outcome: Any) -> None:
        if isinstance(outcome, Exception):
            self._waits.setText(f"Pre-label cannot open: {outcome}")
            return
        if self._steps is None and not self._left:
            self._steps = self._making()
            self._next.start()

    def _go_on(self) -> None:
        """Make the next parts, and leave the window time for what the person does meanwhile."""
        assert self._steps is not None
        end = time.perf_counter() + SLICE_S
        for _ in self._steps:
            if time.perf_counter() > end:
                self._next.start()
                return

    def _making(self) -> Iterator[None]:
        from .prelabel.dock import PrelabelDock

        dock = self._dock = PrelabelDock(self.viewer, whole=False)
        dock.hide()
        self.layout().addWidget(dock)
        yield
        for _ in dock.steps:
            yield
        for widget in dock.findChildren(QWidget):
            widget.ensurePolished()
            yield
        self._waits.hide()
        # napari gives a dock without scrolling parts a stretch, which would take half the height.
        while (item := self.layout().itemAt(0)) is not None and item.widget() is not dock:
            self.layout().removeItem(item)
        dock.show()
        self._whole = True

    def leave(self) -> None:
        """Make nothing more; what is there already lets go of the viewer."""
        self._left = True
        self._next.stop()
        if self._steps is not None:
            self.dock.leave()


def _imported() -> None:
    importlib.import_module("napari_prelabel.gui.prelabel.dock")
    # napari reads all plugins' settings with the first of them, which takes a third of a second.
    importlib.import_module("napari_prelabel.gui.preferences").preferences()

"""Steps that the tests of the window share."""

import time
from collections.abc import Callable

from napari.layers import Labels
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication

from napari_prelabel.gui.prelabel.dock import PrelabelDock

MODELS = "vitb16-shape"  # random weights count as installed; the fake engine never loads them


WORDS = "dark\nbright"


def labels(viewer):
    """The layer that a run on the fixture `image` makes."""
    return viewer.layers["ramp [prelabel]"]


def wait(done: Callable[[], bool], seconds: float = 20.0) -> None:
    """Let the window live until something is so."""
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, "it took too long"
        QApplication.processEvents()
        time.sleep(0.002)


def run(dock: PrelabelDock) -> None:
    """Press Run and wait for its end."""
    dock.bar.run_button.click()
    wait(lambda: not dock.session.running)


def press(viewer, key, modifiers=Qt.KeyboardModifier.ShiftModifier) -> None:
    """Press a key on the canvas, as a keyboard does."""
    QTest.keyClick(viewer.window._qt_viewer.canvas.native, key, modifiers)


def open_ours(viewer, path):
    """*File > Open*, with a dock open: napari's reader or ours, and Labels in the end."""
    there = set(viewer.layers)
    viewer.open(path, plugin=None)
    wait(lambda: any(isinstance(x, Labels) for x in set(viewer.layers) - there))
    (opened,) = set(viewer.layers) - there
    return opened

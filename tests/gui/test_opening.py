"""The dock as the menu opens it: it fills a frame while the window lives."""

import time
from collections import Counter

import pytest
from qtpy.QtCore import QEvent
from qtpy.QtWidgets import QApplication, QCheckBox, QLabel, QPushButton, QWidget

from napari_prelabel.gui import DOCK, PLUGIN, opening
from napari_prelabel.gui.opening import DockFrame
from napari_prelabel.gui.prelabel.dock import PrelabelDock
from napari_prelabel.gui.tabs import Tab

from gui_steps import wait  # isort: skip

KINDS = (QCheckBox, QLabel, QPushButton)


@pytest.fixture
def frame(viewer):
    _, made = viewer.window.add_plugin_dock_widget(PLUGIN, DOCK)
    return made


def closed(viewer, frame):
    viewer.window.remove_dock_widget(frame)
    QApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
    QApplication.processEvents()


def facts(dock):
    """What a dock holds and hides, and what is chosen."""
    ours = [
        w
        for w in dock.scroll.findChildren(QWidget)
        if type(w) in KINDS or "prelabel" in str(type(w))
    ]
    held = Counter((type(w).__name__, w.isHidden()) for w in ours)
    return held, dock.method.method.currentData(), dock.models.models.currentData()


def test_the_frame_stands_before_the_dock_is_made(frame):
    assert isinstance(frame, DockFrame)
    assert not frame.whole
    assert frame._waits.text() == "Opening …"
    wait(lambda: frame.whole)
    assert frame.dock.isVisible()
    assert frame._waits.isHidden()


def test_a_dock_made_bit_by_bit_is_the_dock_made_at_once(frame, viewer):
    wait(lambda: frame.whole)
    wait(lambda: frame.dock.exporter.format.count() > 0)
    at_once = PrelabelDock(viewer)
    viewer.window.add_dock_widget(at_once, name="at once")
    wait(lambda: at_once.isVisible() and at_once.exporter.format.count() > 0)
    assert facts(frame.dock) == facts(at_once)


def test_who_needs_the_dock_now_need_not_wait(frame):
    dock = frame.dock
    assert frame.whole
    dock.words.set_text("tree\nsky")
    assert dock.words.vocabulary.names == ("tree", "sky")
    assert frame.dock is dock


@pytest.mark.parametrize("steps", [0, 1, 9, 40, 400])
def test_a_dock_closed_while_it_opens_leaves_nothing(frame, viewer, steps):
    listeners = len(viewer.layers.events.inserted.callbacks)
    frame._steps = frame._making()
    for _ in range(steps):
        next(frame._steps)
    assert not frame.whole
    closed(viewer, frame)
    assert len(viewer.layers.events.inserted.callbacks) == listeners
    assert not viewer.window._qt_window.findChildren(PrelabelDock)


def test_a_frame_closed_before_the_import_makes_nothing(frame, viewer):
    closed(viewer, frame)
    time.sleep(0.2)
    QApplication.processEvents()
    assert not viewer.window._qt_window.findChildren(PrelabelDock)


def test_a_dock_that_cannot_be_imported_says_why(viewer, monkeypatch):
    def broken():
        raise ImportError("no module named foo")

    monkeypatch.setattr(opening, "_imported", broken)
    frame = DockFrame(viewer)
    try:
        wait(lambda: frame._waits.text() != "Opening …")
        assert frame._waits.text() == "Pre-label cannot open: no module named foo"
    finally:
        frame.leave()
        frame.deleteLater()


def test_a_tab_that_holds_nothing_leaves_and_may_leave_again(viewer):
    bare = Tab(viewer)
    bare.leave()
    bare.leave()
    bare.deleteLater()

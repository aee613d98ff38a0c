"""Nothing is cut off: every text has the room its size hint asks for, or tells itself otherwise."""

from collections.abc import Iterator

import numpy as np
import pytest
from qtpy.QtCore import QEvent, Qt
from qtpy.QtWidgets import (
    QAbstractButton,
    QApplication,
    QCheckBox,
    QComboBox,
    QLabel,
    QStyle,
    QStyleOptionComboBox,
    QTableView,
    QWidget,
)
from superqt import QElidingLabel

from napari_prelabel.gui.parts.pieces import Section
from napari_prelabel.gui.prelabel import dock as dock_module
from napari_prelabel.gui.prelabel.class_table import NAME
from napari_prelabel.gui.reference.dock import ReferenceDock
from napari_prelabel.gui.run.runner import Runner
from napari_prelabel.values.job import Progress

from gui_steps import MODELS  # isort: skip

LONG = "IMG_20261127_183003_panorama_of_the_northern_field_after_rain_edited_final(2)"
CLASS = "a very long name of a class, of forty ch"
THREE_LINES = (
    "The worker process stopped (its memory was full) and was started again; your labels are as "
    f"they were, and {LONG}.tif can be run again with a smaller short side under Models."
)
SIZES = ((1366, 768), (1600, 1000))


def cut(widget: QWidget) -> Iterator[str]:
    """What of a widget's children cannot be read: one sentence each."""
    for child in widget.findChildren(QWidget):
        if not child.isVisible():
            continue
        if isinstance(child, QTableView):
            yield from _cells(child)
        elif isinstance(child, QComboBox):
            yield from _choice(child)
        elif isinstance(child, QElidingLabel):
            told = child.toolTip() + child.parentWidget().toolTip()
            if child.elidedText() and child.text() not in told:
                yield f"no tooltip for {child.text()!r}"
        elif isinstance(child, QLabel) and child.pixmap().isNull():
            yield from _label(child)
        elif isinstance(child, (QAbstractButton, QCheckBox)) and child.text():
            hint = child.sizeHint()
            elided = child.text().endswith("…") and child.toolTip()
            if (hint.width() > child.width() and not elided) or child.height() < hint.height() - 2:
                yield f"{child.text()!r} needs {hint}, has {child.size()}"


def _label(child: QLabel) -> Iterator[str]:
    if child.wordWrap():
        needed = child.heightForWidth(child.width())
        if needed > child.height() + 1 or child.minimumSizeHint().width() > child.width():
            yield f"{child.text()!r} needs {needed} of height, has {child.size()}"
    elif child.sizeHint().width() > child.width() or child.sizeHint().height() > child.height() + 1:
        yield f"{child.text()!r} needs {child.sizeHint()}, has {child.size()}"


def _choice(child: QComboBox) -> Iterator[str]:
    inside = QStyleOptionComboBox()
    child.initStyleOption(inside)
    part = QStyle.SubControl.SC_ComboBoxEditField
    room = child.style().subControlRect(QStyle.ComplexControl.CC_ComboBox, inside, part, child)
    wide = child.fontMetrics().horizontalAdvance(child.currentText())
    if wide > room.width() and child.currentText() not in child.toolTip():
        yield f"no tooltip for {child.currentText()!r}"
    if child.height() < child.sizeHint().height() - 2:
        yield f"{child.currentText()!r} is {child.height()} high"


def _cells(table: QTableView) -> Iterator[str]:
    model, metrics = table.model(), table.fontMetrics()
    for row in range(min(model.rowCount(), 16)):
        for column in range(model.columnCount()):
            index = model.index(row, column)
            text = model.data(index, Qt.ItemDataRole.DisplayRole)
            wide = table.sizeHintForIndex(index).width()  # with the margins of the cell
            if not text or wide <= table.columnWidth(column):
                continue
            tip = model.data(index, Qt.ItemDataRole.ToolTipRole) or ""
            if str(text) not in tip:
                yield f"cell {text!r} is cut off at {table.columnWidth(column)}"
    for column in range(model.columnCount()):
        text = model.headerData(column, Qt.Orientation.Horizontal, Qt.ItemDataRole.DisplayRole)
        if text and metrics.horizontalAdvance(str(text)) + 6 > table.columnWidth(column):
            yield f"heading {text!r} is cut off at {table.columnWidth(column)}"


def settle(qapp: QApplication) -> None:
    for _ in range(6):
        qapp.sendPostedEvents(None, QEvent.Type.LayoutRequest)
        qapp.processEvents()


@pytest.fixture
def sized(viewer, qapp):
    """The window at a size of the screen; as it was afterwards."""
    before = viewer.window._qt_window.size()
    yield lambda size: viewer.window._qt_window.resize(*size)
    viewer.window._qt_window.resize(before)


@pytest.fixture
def full(viewer, pool):
    """The Pre-label dock with the longest texts it can have, all sections unfolded."""
    made = dock_module.PrelabelDock(viewer, Runner(lambda: pool))
    viewer.window.add_dock_widget(made, name="Pre-label", area="right")
    made.models.apply(MODELS)
    pixels = np.zeros((12, 60, 80, 4), np.uint16)
    viewer.add_image(pixels, name=LONG, contrast_limits=(0, 9))
    made.words.set_text("\n".join([CLASS, *(f"{CLASS[:36]} {i}" for i in range(11)), "a, b"]))
    made.words.set_text("\n".join([CLASS, *(f"{CLASS[:36]} {i}" for i in range(11))]))
    made.table.classes.set_counts({r.entry.name: 100_000_000 for r in made.table.classes.rows})
    made.results.show_state(
        (3, 1), 100_000_000, f"100,000,000 pixels changed:\n{CLASS} → {CLASS}   9"
    )
    made.keeper.text.setText(f"You worked on {LONG} on 27 November at 18:30: 100,000,000 pixels.")
    made.keeper.show()
    made.exporter.fail(f"{LONG}.png exists already: tick Replace files that exist.")
    made.scribble_box.say("Reading the image with the diffusion model: 3 of 12")
    made.suggester._say(f"Of a ready list, the image looks most like: {CLASS} 99%, {CLASS} 1%.")
    made.bar.busy()
    made.bar.progress(2048, 4000, Progress("diffusion", 3, 4000, 86400.0))
    made.bar.show_device("NVIDIA H100 80GB HBM3", 78_000_000_000)
    made.bar.say(("failed", THREE_LINES), ("warning", THREE_LINES))
    for section in made.findChildren(Section):
        section.expand()
    return made


@pytest.mark.parametrize("theme", ["dark", "light"])
@pytest.mark.parametrize("size", SIZES)
def test_the_dock_shows_every_text(full, viewer, sized, qapp, size, theme):
    viewer.theme = theme
    sized(size)
    settle(qapp)
    for method in ("base", "freecp", "nerve", "reme"):
        full.method.method.choose(method)
        for section in full.findChildren(Section):
            section.expand()
        settle(qapp)
        assert not list(cut(full)), method
    assert full.table.columnWidth(NAME) >= 80


@pytest.mark.parametrize("theme", ["dark", "light"])
@pytest.mark.parametrize("size", SIZES)
def test_the_reference_dock_shows_every_text(viewer, pool, sized, qapp, size, theme):
    viewer.theme = theme
    made = ReferenceDock(viewer, lambda: pool)
    viewer.window.add_dock_widget(made, name="Reference", area="right")
    viewer.add_image(np.zeros((60, 80)), name=LONG, contrast_limits=(0, 9))
    viewer.add_labels(np.ones((60, 80), np.uint8), name=f"{LONG} labels")
    made.bar.busy("Reading the images …")
    made.bar.say(("failed", THREE_LINES), ("info", THREE_LINES))
    made.why.say(f"“{CLASS}” took 100 % of the weight. It comes from:", THREE_LINES)
    sized(size)
    for section in made.sections.values():
        section.show()
        section.expand()
    settle(qapp)
    assert not list(cut(made))


def test_run_and_cancel_stay_where_they_are(full, viewer, sized, qapp):
    sized(SIZES[0])
    bar = full.bar

    def places():
        settle(qapp)
        return [b.mapTo(full, b.rect().topLeft()) for b in (bar.run_button, bar.cancel_button)]

    bar.idle("")
    bar.say()
    before = places()
    bar.busy()
    assert places() == before
    bar.progress(2048, 4000, Progress("encode", 3, 4000, 86400.0))
    bar.show_device("NVIDIA H100 80GB HBM3", 78_000_000_000)
    assert places() == before
    bar.say(*[("failed", f"{n}. {THREE_LINES}") for n in range(6)])
    assert places() == before
    bar.idle("Done.")
    assert places() == before
    assert bar.height() < full.height() / 2


def test_the_dock_has_the_whole_height_of_its_frame(viewer, sized, qapp):
    _, frame = viewer.window.add_plugin_dock_widget("napari-prelabel", "Pre-label")
    dock = frame.dock
    sized(SIZES[0])
    settle(qapp)
    assert dock.isVisible()
    assert dock.height() == frame.height() > 500


def test_a_notice_that_goes_gives_its_room_back(full, viewer, sized, qapp):
    sized(SIZES[0])
    full.bar.idle("")
    full.bar.say()
    settle(qapp)
    low = full.bar.height()
    full.bar.ask("warning", THREE_LINES, *[(f"Way {n}", "", lambda: None) for n in range(3)])
    settle(qapp)
    assert full.bar.height() > low + 80
    full.bar.say()
    settle(qapp)
    assert full.bar.height() == low

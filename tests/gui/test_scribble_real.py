"""The scribble with the real worker, the demo models, and the mouse on napari's canvas."""

import os
from pathlib import Path

import numpy as np
import psutil
import pytest
from qtpy.QtCore import QEvent, QPoint, QPointF, Qt
from qtpy.QtGui import QMouseEvent
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication

from napari_prelabel.engine.tasks import ReadImage
from napari_prelabel.gui.prelabel.dock import PrelabelDock
from napari_prelabel.gui.run.runner import Runner
from napari_prelabel.gui.scribble.preview import NAME
from napari_prelabel.values.labels import HUMAN
from napari_prelabel.worker.pool import Pool

from gui_steps import wait  # isort: skip

LEFT, NONE = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
# Along the hull of the boat in scene-18, (y, x) in pixels, and pixels of it that are the person's.
STROKE = [(89, x) for x in range(64, 104, 4)]
MINE = np.s_[86:89, 96:102]


@pytest.fixture(scope="module")
def counted(tmp_path_factory):
    """A worker that writes down every pass of the diffusion model; it is started once."""
    with pytest.MonkeyPatch.context() as patch:
        path = [str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, path)))
        patch.setenv("PRELABEL_PASSES", str(tmp_path_factory.mktemp("worker") / "passes.txt"))
        with Pool(engine="counted_engine:CountedEngine") as made:
            yield made


@pytest.fixture
def passes(counted):
    """How many images the diffusion model has looked at since the test began."""
    file = Path(os.environ["PRELABEL_PASSES"])

    def count():
        return len(file.read_text("utf-8").splitlines()) if file.exists() else 0

    before = count()
    return lambda: count() - before


@pytest.fixture
def dock(viewer, counted):
    made = PrelabelDock(viewer, Runner(lambda: counted))
    viewer.window.add_dock_widget(made, area="right")
    return made


def drag(viewer, points):
    """A stroke with the left button."""
    canvas = viewer.window._qt_viewer.canvas.native
    canvas.setFocus()
    camera = viewer.scene.camera

    def at(point):
        half = np.array([canvas.width() / 2, canvas.height() / 2])
        off = (np.array(point[::-1], float) - camera.center[:0:-1]) * camera.zoom
        return QPoint(*(int(v) for v in half + off))

    QTest.mousePress(canvas, LEFT, NONE, at(points[0]))
    for point in points[1:]:
        move(canvas, at(point))
    QTest.mouseRelease(canvas, LEFT, NONE, at(points[-1]))
    return canvas


def move(canvas, to):
    """A move with the button held; QTest's own warps the cursor, which a busy display drops."""
    where = QPointF(to), QPointF(canvas.mapToGlobal(to))
    event = QMouseEvent(QEvent.Type.MouseMove, *where, Qt.MouseButton.NoButton, LEFT, NONE)
    QApplication.sendEvent(canvas, event)
    QTest.qWait(30)  # napari takes one move in 5 ms, vispy one in 10


def settled(tool):
    wait(lambda: tool._answer is not None and tool._answer[0].version == tool._version, 100)


@pytest.mark.timeout(280)
def test_run_scribble_accept_undo_drop_and_kill(dock, viewer, counted, passes):
    viewer.open_sample("napari-prelabel", "scene-1")
    dock.method.method.choose("nerve")
    dock.bar.run_button.click()
    wait(lambda: not dock.session.running, 200)
    assert dock.bar.stage.text() == "Done.", dock.bar.notices.texts
    assert passes() == 1
    layer = viewer.layers["scene-18 [prelabel]"]
    boat = dock.words.vocabulary.names.index("boat") + 1
    layer.data_setitem((*(i.ravel() for i in np.mgrid[MINE]),), 1)
    before, told = layer.data.copy(), list(dock.bar.notices.texts)
    viewer.reset_view()

    tool = dock.scribble
    dock.scribble_box.button.click()
    layer.selected_label = boat
    wait(lambda: not tool._asker.busy, 100)
    canvas = drag(viewer, STROKE)
    settled(tool)
    assert tool._strokes.extent > STROKE[-1][1] - STROKE[0][1]
    drawn, shown = tool._strokes.codes > 0, viewer.layers[NAME].data > 0
    assert shown.sum() > 2 * drawn.sum()
    np.testing.assert_array_equal(layer.data, before)

    QTest.keyClick(canvas, Qt.Key.Key_Return)
    wait(lambda: NAME not in viewer.layers)
    notes = dock.session.result(dock.place.layer).annotation
    taken = (layer.data == boat) & (notes.provenance == HUMAN)
    assert taken.sum() > 2 * drawn.sum()
    assert (layer.data[MINE] == 1).all()
    np.testing.assert_array_equal(layer.data[~taken], before[~taken])
    QTest.keyClick(canvas, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    np.testing.assert_array_equal(layer.data, before)

    drag(viewer, STROKE)
    settled(tool)
    QTest.keyClick(canvas, Qt.Key.Key_Escape)
    assert NAME not in viewer.layers
    np.testing.assert_array_equal(layer.data, before)
    assert passes() == 1

    psutil.Process(counted.worker["pid"]).kill()
    drag(viewer, STROKE)
    settled(tool)
    assert passes() == 2
    QTest.keyClick(canvas, Qt.Key.Key_Return)
    wait(lambda: NAME not in viewer.layers)
    np.testing.assert_array_equal((layer.data == boat) & (notes.provenance == HUMAN), taken)
    assert dock.bar.notices.texts == told


@pytest.mark.timeout(200)
def test_a_scribble_without_a_run_reads_the_image_itself(dock, viewer, passes):
    viewer.open_sample("napari-prelabel", "scene-2")
    dock.scribble_box.button.click()
    assert "Reading the image" in dock.scribble_box.note.text()
    tool = dock.scribble
    tool.begin((), STROKE[0])
    for point in STROKE[1:]:
        tool.go_on(point)
    settled(tool)
    assert passes() == 1
    tool.accept()
    layer = dock.session.result(dock.place.layer).layer
    assert (layer.data > 0).sum() > 500
    dock.scribble.toggle()
    dock.scribble.toggle()
    wait(lambda: not tool._asker.busy, 100)
    assert passes() == 1
    assert isinstance(tool._asker._reading_of(())(), ReadImage)

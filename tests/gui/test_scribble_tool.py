"""The scribble tool in a real window, with a pool that answers by colour."""

from types import SimpleNamespace

import numpy as np
import pytest
from qtpy.QtCore import QPoint, Qt
from qtpy.QtTest import QTest
from scribble_pool import ScribblePool

from napari_prelabel.engine.tasks import ImageRead, ReadImage, Scribble, reach_of
from napari_prelabel.gui.prelabel import dock as dock_module
from napari_prelabel.gui.prelabel.dock import PrelabelDock
from napari_prelabel.gui.run.runner import Runner
from napari_prelabel.gui.scribble import strokes as scribble_strokes
from napari_prelabel.gui.scribble.preview import NAME
from napari_prelabel.gui.scribble.strokes import NOT_THIS, Ink, Strokes
from napari_prelabel.values.errors import JobError, ModelError, WorkerDied
from napari_prelabel.values.labels import HUMAN, MODEL

from gui_steps import MODELS, wait  # isort: skip

SIZE = (60, 80)
OBJECT = np.zeros(SIZE, bool)
OBJECT[10:40, 20:50] = True
OTHER = np.zeros(SIZE, bool)
OTHER[20:50, 55:75] = True


def picture():
    out = np.zeros((*SIZE, 3), np.uint8)
    out[..., 2] = 90
    out[OBJECT] = [200, 40, 40]
    out[OTHER] = [40, 200, 40]
    return out


@pytest.fixture
def pool():
    return ScribblePool()


@pytest.fixture(autouse=True)
def _with_diffusion(monkeypatch):
    monkeypatch.setattr(dock_module, "check_diffusion", lambda _: None)


@pytest.fixture
def dock(viewer, pool):
    made = PrelabelDock(viewer, Runner(lambda: pool))
    viewer.window.add_dock_widget(made, name="Pre-label", area="right")
    made.models.apply(MODELS)
    made.words.set_text("tree\nrock\nsky")
    return made


@pytest.fixture
def image(viewer, dock):
    return viewer.add_image(picture(), name="scene", rgb=True)


@pytest.fixture
def tool(dock, image):
    """In the hand, with the class "rock" and the image read."""
    dock.scribble_box.button.click()
    assert dock.scribble.on
    dock.scribble_box.slider.setValue(80)
    layer_of(dock).selected_label = 2
    wait(lambda: not dock.scribble._asker.busy)
    return dock.scribble


def layer_of(dock):
    return dock.session.result(dock.place.layer).layer


def notes_of(dock):
    return dock.session.result(dock.place.layer).annotation


def draw(tool, *points, ink=None, plane=()):
    tool.begin(plane, points[0], ink)
    for point in points[1:]:
        tool.go_on(point)


def settled(tool):
    wait(lambda: tool._answer is not None and tool._answer[0].version == tool._version)


def preview(viewer):
    return viewer.layers[NAME].data if NAME in viewer.layers else None


def test_the_button_reads_the_image_and_says_what_to_do(tool, dock, viewer, pool):
    (read,) = pool.of(ReadImage)
    np.testing.assert_array_equal(read.image, picture())
    assert read.nerve == dock.method.given("nerve")
    assert "Enter accepts, Esc drops" in dock.scribble_box.note.text()
    assert layer_of(dock).help == "Scribble: draw, Enter accepts, Esc drops"
    assert viewer.layers.selection.active is layer_of(dock)


def test_a_stroke_is_previewed_accepted_and_undone_in_one_step(tool, dock, viewer):
    layer, counts = layer_of(dock), notes_of(dock).counts
    draw(tool, (25, 30), (25, 40))
    settled(tool)
    assert not layer.data.any()
    shown = preview(viewer) > 0
    assert shown[OBJECT].all()
    tool.accept()
    np.testing.assert_array_equal(layer.data == 2, OBJECT)
    assert (notes_of(dock).provenance[OBJECT] == HUMAN).all()
    assert (notes_of(dock).provenance[~OBJECT] == MODEL).all()
    assert counts()["rock"] == OBJECT.sum()
    assert NAME not in viewer.layers
    assert "900 pixels more of yours" in dock.scribble_box.note.text()
    layer.undo()
    assert not layer.data.any()
    assert (notes_of(dock).provenance == MODEL).all()
    layer.redo()
    np.testing.assert_array_equal(layer.data == 2, OBJECT)
    assert counts()["rock"] == OBJECT.sum()


def test_pixels_that_show_the_class_already_become_the_persons_too(tool, dock):
    layer, notes = layer_of(dock), notes_of(dock)
    notes.model[...] = 2
    with notes._editing(()):
        notes._show(())
    layer.data[...] = 2
    draw(tool, (25, 30), (25, 40))
    settled(tool)
    tool.accept()
    assert (notes.provenance[OBJECT] == HUMAN).all()
    layer.undo()
    assert (notes.provenance == MODEL).all()


def test_esc_drops_and_then_puts_the_tool_down(tool, dock, viewer):
    layer = layer_of(dock)
    draw(tool, (25, 30))
    settled(tool)
    tool.drop()
    assert NAME not in viewer.layers
    assert not layer.data.any()
    assert tool.on
    tool.drop()
    assert not tool.on
    assert not dock.scribble_box.button.isChecked()
    assert layer.mouse_pan
    assert not layer.keymap
    assert tool._press not in layer.mouse_drag_callbacks


def test_locked_pixels_and_locked_classes_stay(tool, dock):
    layer = layer_of(dock)
    layer.data_setitem((np.full(5, 12), np.arange(22, 27)), 1)
    sky = np.nonzero(OBJECT & (np.arange(80) > 44))
    notes = notes_of(dock)
    with notes._editing((), model=True):
        notes.model[sky] = 3
        notes._show(())
    layer.data[sky] = 3
    row = next(r for r in dock.table.classes.rows if r.entry.name == "sky")
    row.locked = True
    draw(tool, (25, 30), (25, 40))
    settled(tool)
    tool.accept()
    assert (layer.data[12, 22:27] == 1).all()
    assert (layer.data[sky] == 3).all()
    rest = OBJECT.copy()
    rest[12, 22:27] = rest[sky] = False
    assert (layer.data[rest] == 2).all()
    draw(tool, (25, 30), (25, 34))
    settled(tool)
    tool.accept()
    assert "yours already" in dock.scribble_box.note.text()


def test_strokes_of_two_classes_and_not_this_go_together(tool, dock):
    layer = layer_of(dock)
    draw(tool, (25, 30), (25, 40))
    layer.selected_label = 1
    draw(tool, (30, 60), (40, 65))
    draw(tool, (5, 5), (5, 15), ink=NOT_THIS)
    settled(tool)
    tool.accept()
    np.testing.assert_array_equal(layer.data == 2, OBJECT)
    np.testing.assert_array_equal(layer.data == 1, OTHER)
    assert not layer.data[~(OBJECT | OTHER)].any()
    layer.undo()
    assert not layer.data.any()


def test_an_eraser_stroke_takes_labels_away(tool, dock):
    layer, notes = layer_of(dock), notes_of(dock)
    with notes._editing((), model=True):
        notes.model[...] = 1
        notes._show(())
    layer.data[...] = 1
    layer.selected_label = 0
    draw(tool, (25, 30))
    settled(tool)
    tool.accept()
    np.testing.assert_array_equal(layer.data == 0, OBJECT)


def test_enter_before_the_answer_waits_for_the_newest_strokes(tool, dock, pool):
    pool.hold.set()
    draw(tool, (25, 30), (25, 40))
    layer_of(dock).selected_label = 1
    draw(tool, (30, 60), (40, 65))
    tool.accept()
    assert not layer_of(dock).data.any()
    pool.hold.clear()
    wait(lambda: layer_of(dock).data.any())
    np.testing.assert_array_equal(layer_of(dock).data == 1, OTHER)
    np.testing.assert_array_equal(layer_of(dock).data == 2, OBJECT)


def test_one_question_is_under_way_and_the_newest_waits(tool, pool):
    pool.pause = 0.03
    draw(tool, *((25, 20 + i / 2) for i in range(50)))
    settled(tool)
    asked = pool.of(Scribble)
    assert pool.most_under_way == 1
    assert len(asked) < 20
    assert tool._answer[0].version == tool._version


def test_an_answer_to_dropped_strokes_is_not_shown(tool, dock, pool, viewer):
    pool.hold.set()
    draw(tool, (25, 30))
    tool.drop()
    dock.scribble_box.slider.setValue(70)
    draw(tool, (30, 60))
    pool.hold.clear()
    settled(tool)
    assert not preview(viewer)[OBJECT & (np.arange(80) < 40)].any()
    tool.accept()
    np.testing.assert_array_equal(layer_of(dock).data == 2, OTHER)


def test_the_radius_limits_and_asks_anew(tool, dock, viewer):
    draw(tool, (25, 35))
    settled(tool)
    dock.scribble_box.slider.setValue(6)
    settled(tool)
    tool.accept()
    y = np.nonzero(layer_of(dock).data)[0]
    assert 18 <= y.min() < 22
    assert y.max() <= 33
    before = dock.scribble_box.radius
    dock.scribble_box.step(1)
    assert dock.scribble_box.radius > before
    dock.scribble_box.step(-1)
    assert dock.scribble_box.radius == before


def test_the_radius_grows_with_the_stroke_until_it_is_chosen(dock, image):
    dock.scribble.toggle()
    tool, box, layer = dock.scribble, dock.scribble_box, layer_of(dock)
    layer.selected_label = 2
    draw(tool, (25, 30))
    small = box.radius
    assert small == reach_of(np.hypot(3, 3), SIZE)
    tool.go_on((25, 40))
    assert box.radius == reach_of(np.hypot(3, 13), SIZE) > small
    assert box.pixels.text() == f"{box.radius} px"
    grown = box.radius
    draw(tool, (5, 5), (5, 70), ink=NOT_THIS)
    assert box.radius == grown
    box.slider.setValue(9)
    tool.go_on((25, 70))
    assert box.radius == 9
    tool.drop()
    draw(tool, (25, 30), (25, 40))
    assert box.radius == grown


def test_a_large_image_allows_a_large_radius(dock, viewer):
    viewer.add_image(np.zeros((900, 1000, 3), np.uint8), name="large", rgb=True)
    dock.scribble.toggle()
    assert dock.scribble_box.slider.maximum() == 900


def test_a_stroke_taken_back_while_it_is_drawn_ends_there(tool):
    draw(tool, (25, 30), (25, 40))
    codes = tool._strokes.codes.copy()
    draw(tool, (30, 60))
    tool.take_back()
    tool.go_on((40, 65))
    np.testing.assert_array_equal(tool._strokes.codes, codes)
    tool.take_back()
    tool.go_on((40, 66))
    assert tool._strokes is None


def test_more_classes_than_a_scribble_holds_are_told(tool, dock, monkeypatch):
    monkeypatch.setattr(scribble_strokes, "MOST_INKS", 1)
    draw(tool, (25, 30))
    layer_of(dock).selected_label = 1
    assert not tool.begin((), (30, 60))
    assert "Enter accepts what you drew" in dock.scribble_box.note.text()
    assert len(tool._strokes.inks) == 1


def test_an_image_with_other_pixels_puts_it_down(tool, dock, image, viewer):
    draw(tool, (25, 30))
    image.data = image.data[::-1].copy()
    assert not tool.on
    assert NAME not in viewer.layers
    assert dock.bar.notices.texts == ["The image has changed: press Scribble to read it again."]
    assert not layer_of(dock).data.any()


def test_everything_removed_in_the_middle_of_a_drag(tool, dock, viewer, pool):
    layer = layer_of(dock)
    pool.hold.set()
    event = SimpleNamespace(
        position=layer.data_to_world((25, 30)), button=1, modifiers=(), type="mouse_press"
    )
    drag = tool._press(layer, event)
    next(drag)
    event.type = "mouse_move"
    viewer.layers.clear()
    next(drag)
    wait(lambda: not tool.on)
    event.position = (25, 40)
    next(drag)
    pool.hold.clear()
    event.type = "mouse_release"
    assert next(drag, None) is None
    assert tool._strokes is None
    assert not len(viewer.layers)


def test_boxes_follow_the_strokes():
    rng = np.random.default_rng(0)
    strokes = Strokes((40, 50))
    assert strokes.box(3) is None
    for _ in range(12):
        strokes.begin(Ink(1, "a"), 3, tuple(rng.uniform(-20, 70, 2)))
        strokes.go_on(tuple(rng.uniform(-20, 70, 2)))
    while strokes:
        drawn = np.argwhere(strokes.codes)
        found = strokes.box(2)
        if len(drawn):
            low, high = np.maximum(drawn.min(0) - 2, 0), drawn.max(0) + 3
            want = tuple(slice(a, min(b, n)) for a, b, n in zip(low, high, (40, 50), strict=True))
            assert found == want
        else:
            assert found is None
        strokes.take_back()
    assert not strokes.codes.any()
    assert strokes.extent == 0


def test_the_last_stroke_is_taken_back(tool, dock, viewer):
    draw(tool, (25, 30), (25, 40))
    draw(tool, (30, 60), (40, 65))
    tool.take_back()
    settled(tool)
    tool.accept()
    np.testing.assert_array_equal(layer_of(dock).data == 2, OBJECT)
    draw(tool, (30, 60))
    tool.take_back()
    assert NAME not in viewer.layers
    tool.take_back()
    assert not layer_of(dock).data.any()


def test_a_worker_without_the_image_is_sent_it_again(tool, dock, pool):
    pool.images.clear()
    draw(tool, (25, 30))
    settled(tool)
    assert len(pool.of(ReadImage)) == 2
    pool.fail = [WorkerDied()]
    draw(tool, (26, 30))
    settled(tool)
    assert len(pool.of(ReadImage)) == 3
    assert not dock.bar.notices.texts


def test_a_worker_that_dies_again_and_again_is_told_once_and_strokes_stay(tool, dock, pool):
    pool.fail = [WorkerDied(), None, WorkerDied()]
    draw(tool, (25, 30))
    wait(lambda: bool(dock.bar.notices.texts))
    (told,) = dock.bar.notices.texts
    assert told == "The worker process stopped and was started again. Go on drawing."
    draw(tool, (26, 32))
    settled(tool)
    tool.accept()
    np.testing.assert_array_equal(layer_of(dock).data == 2, OBJECT)


def test_an_image_too_large_to_keep_is_told(tool, dock, pool, monkeypatch):
    monkeypatch.setattr(pool, "_read", lambda _: ImageRead("gone"))
    pool.images.clear()
    draw(tool, (25, 30))
    wait(lambda: bool(dock.bar.notices.texts))
    assert "cannot keep an image of this size" in dock.bar.notices.texts[0]
    assert not tool.on


def test_reading_shows_a_bar_and_can_be_cancelled(dock, image, pool):
    pool.hold.set()
    dock.scribble_box.button.click()
    assert not dock.scribble_box.bar.isHidden()
    assert "Reading the image" in dock.scribble_box.note.text()
    wait(lambda: bool(pool.of(ReadImage)))
    dock.scribble_box.stop.click()
    assert dock.scribble_box.bar.isHidden()
    assert not dock.scribble.on
    assert "cancelled" in dock.bar.notices.texts[0]
    pool.hold.clear()
    dock.scribble.toggle()
    wait(lambda: not dock.scribble._asker.busy)
    assert dock.scribble.on


@pytest.mark.parametrize(
    "error", [JobError("models", "it has none."), ModelError("sd", "it is not here.")]
)
def test_missing_models_are_one_sentence(dock, image, monkeypatch, error):
    def refuse(_):
        raise error

    monkeypatch.setattr(dock_module, "check_diffusion", refuse)
    dock.scribble_box.button.click()
    assert not dock.scribble.on
    assert not dock.scribble_box.button.isChecked()
    assert dock.bar.notices.texts == ["I" + str(error)[1:]]


def test_an_error_of_the_worker_puts_the_tool_down_and_changes_nothing(tool, dock, pool, viewer):
    pool.fail = [ModelError("sd", "the model is broken: fetch it again.")]
    draw(tool, (25, 30))
    wait(lambda: bool(dock.bar.notices.texts))
    assert dock.bar.notices.texts == ["The model is broken: fetch it again."]
    assert not tool.on
    assert NAME not in viewer.layers
    assert not layer_of(dock).data.any()


def test_without_an_image_it_says_what_to_open(dock):
    dock.scribble_box.button.click()
    assert "Open an image first" in dock.bar.notices.texts[0]
    assert not dock.scribble.on


def test_another_tool_of_naparis_puts_it_down(tool, dock, viewer):
    layer = layer_of(dock)
    draw(tool, (25, 30))
    settled(tool)
    layer.mode = "pick"
    assert not tool.on
    assert NAME not in viewer.layers
    assert layer.mode == "pick"
    layer.mode = "pan_zoom"


def test_a_removed_layer_puts_it_down(tool, dock, viewer):
    draw(tool, (25, 30))
    settled(tool)
    viewer.layers.remove(layer_of(dock))
    wait(lambda: not tool.on)
    assert NAME not in viewer.layers


def test_a_preview_deleted_by_hand_drops_the_strokes(tool, dock, viewer):
    draw(tool, (25, 30))
    settled(tool)
    viewer.layers.remove(viewer.layers[NAME])
    wait(lambda: tool._strokes is None)
    assert tool.on
    tool.accept()
    assert not layer_of(dock).data.any()


def test_a_plane_of_a_stack(dock, viewer, pool):
    stack = np.stack([np.zeros((*SIZE, 3), np.uint8), picture(), picture()])
    viewer.add_image(stack, name="stack", rgb=True, scale=(3, 2, 2), translate=(1, 5, 7))
    viewer.dims.set_point(0, 1 + 3 * 1)
    dock.scribble_box.slider.setValue(80)
    dock.scribble.toggle()
    tool, layer = dock.scribble, layer_of(dock)
    layer.selected_label = 2
    draw(tool, (25, 30), (25, 40), plane=(1,))
    settled(tool)
    top = viewer.layers[NAME]
    np.testing.assert_allclose(top.data_to_world((0, 4, 6)), layer.data_to_world((1, 4, 6)))
    assert top.data.shape == (1, *SIZE)
    event = SimpleNamespace(
        position=layer.data_to_world((2, 5, 5)), button=1, modifiers=(), type="mouse_press"
    )
    list(tool._press(layer, event))
    assert "other slice" in dock.scribble_box.note.text()
    tool.accept()
    np.testing.assert_array_equal(layer.data[1] == 2, OBJECT)
    assert not layer.data[[0, 2]].any()
    layer.undo()
    assert not layer.data.any()
    assert [r.image.shape for r in pool.of(ReadImage)] == [(*SIZE, 3)]
    viewer.dims.ndisplay = 3
    list(tool._press(layer, event))
    viewer.dims.ndisplay = 2
    assert "switch 3D off" in dock.scribble_box.note.text()


def test_mouse_and_keys_on_the_canvas(tool, dock, viewer):
    layer = layer_of(dock)
    viewer.reset_view()
    canvas = viewer.window._qt_viewer.canvas.native
    canvas.setFocus()

    def at(y, x):
        half = np.array([canvas.width() / 2, canvas.height() / 2])
        off = (np.array([x, y]) - viewer.scene.camera.center[:0:-1]) * viewer.scene.camera.zoom
        return QPoint(*(int(v) for v in half + off))

    where = viewer.scene.camera.center
    left = Qt.MouseButton.LeftButton
    QTest.mousePress(canvas, left, Qt.KeyboardModifier.NoModifier, at(25, 30))
    QTest.mouseMove(canvas, at(25, 36))
    QTest.mouseRelease(canvas, left, Qt.KeyboardModifier.NoModifier, at(25, 40))
    settled(tool)
    assert viewer.scene.camera.center == where
    radius = dock.scribble_box.radius
    QTest.keyClick(canvas, Qt.Key.Key_BracketLeft)
    assert dock.scribble_box.radius < radius
    QTest.keyClick(canvas, Qt.Key.Key_BracketRight)
    settled(tool)
    QTest.keyClick(canvas, Qt.Key.Key_Return)
    wait(lambda: layer.data.any())
    np.testing.assert_array_equal(layer.data == 2, OBJECT)
    right = Qt.MouseButton.RightButton
    QTest.mousePress(canvas, right, Qt.KeyboardModifier.NoModifier, at(30, 60))
    QTest.mouseRelease(canvas, right, Qt.KeyboardModifier.NoModifier, at(30, 60))
    assert tool._strokes.inks == [NOT_THIS]
    QTest.keyClick(canvas, Qt.Key.Key_Escape)
    assert NAME not in viewer.layers
    QTest.keyClick(canvas, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    assert not layer.data.any()
    QTest.keyClick(canvas, Qt.Key.Key_S, Qt.KeyboardModifier.ShiftModifier)
    assert not tool.on
    QTest.keyClick(canvas, Qt.Key.Key_S, Qt.KeyboardModifier.ShiftModifier)
    assert tool.on

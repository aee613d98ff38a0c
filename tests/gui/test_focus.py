"""The dock follows the selected layer, and keys go where a person means them to."""

import numpy as np
import pytest
from qtpy.QtCore import QPoint, Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QComboBox

from gui_steps import WORDS, run, wait  # isort: skip

SHIFT, CONTROL = Qt.KeyboardModifier.ShiftModifier, Qt.KeyboardModifier.ControlModifier


@pytest.fixture
def canvas(dock, viewer):
    viewer.window._qt_window.activateWindow()
    dock.words.set_text(WORDS)
    return viewer.window._qt_viewer.canvas.native


def press(widget, *where):
    QTest.mouseClick(widget, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, *where)


def focused(widget):
    return lambda: QApplication.focusWidget() is widget


# Which image


def test_the_dock_follows_the_layer_that_is_selected(dock, viewer):
    images = [viewer.add_image(np.zeros((60, 80)), name=f"i{i}", contrast_limits=(0, 1))
              for i in range(10)]  # fmt: skip
    dock.words.set_text(WORDS)
    viewer.layers.selection.active = images[3]
    assert dock.place.layer is images[3]
    run(dock)
    made = viewer.layers["i3 [prelabel]"]
    viewer.layers.selection.active = images[7]
    viewer.layers.selection.active = made
    assert dock.place.layer is images[3]
    viewer.add_shapes()
    viewer.add_points(np.zeros((1, 2)))
    assert dock.place.layer is images[3]
    viewer.layers.selection.active = images[0]
    viewer.layers.selection.clear()
    assert dock.place.layer is images[0]


def test_labels_of_others_choose_the_image_they_lie_on(dock, viewer):
    first = viewer.add_image(np.zeros((60, 80)), name="first", contrast_limits=(0, 1))
    second = viewer.add_image(np.zeros((30, 40)), name="second", contrast_limits=(0, 1))
    layer = viewer.add_labels(np.zeros((60, 80), int))
    assert dock.place.layer is first
    viewer.layers.selection.active = second
    viewer.layers.selection.active = layer
    assert dock.place.layer is first


def test_a_result_that_comes_does_not_take_another_image_away(dock, viewer, image):
    other = viewer.add_image(np.zeros((30, 40)), name="other", contrast_limits=(0, 1))
    viewer.layers.selection.active = image
    dock.words.set_text(WORDS)
    dock.bar.run_button.click()
    viewer.layers.selection.active = other
    wait(lambda: not dock.session.running)
    assert viewer.layers.selection.active is other
    assert dock.place.layer is other


def test_live_follows_words_and_no_image(dock, viewer, image, qtbot):
    dock.bar.live_box.setChecked(True)
    dock.words.set_text(WORDS)
    wait(lambda: "ramp [prelabel]" in viewer.layers and not dock.session.running)
    meta = {"prelabel_vocabulary": "other\nwords"}
    viewer.add_image(np.zeros((60, 80)), name="new", contrast_limits=(0, 1), metadata=meta)
    viewer.layers.selection.active = image
    qtbot.wait(600)
    assert not dock.session.running
    assert "new [prelabel]" not in viewer.layers
    dock.place.image.choose(viewer.layers["new"])
    dock.words.set_text("sky\nsea")
    wait(lambda: "new [prelabel]" in viewer.layers and not dock.session.running)


# Where keys go


@pytest.mark.parametrize("name", ["run_button", "live_box"])
def test_a_press_gives_the_keyboard_back_to_the_canvas(dock, image, canvas, name):
    dock.words.edit.setFocus()
    press(getattr(dock.bar, name), QPoint(8, 8))
    wait(focused(canvas))
    wait(lambda: not dock.session.running)


def test_a_choice_gives_the_keyboard_back_too(dock, image, canvas):
    dock.words.edit.setFocus()
    dock.place.region.showPopup()
    wait(lambda: dock.place.region.view().isVisible())
    QTest.keyClick(dock.place.region.view(), Qt.Key.Key_Down)
    QTest.keyClick(dock.place.region.view(), Qt.Key.Key_Return)
    wait(focused(canvas))
    assert dock.place.region.currentData() == "visible"


def test_space_pans_and_digits_choose_tools_after_a_press(dock, viewer, image, canvas):
    press(dock.bar.run_button)
    wait(lambda: not dock.session.running)
    wait(focused(canvas))
    layer = viewer.layers["ramp [prelabel]"]
    assert viewer.layers.selection.active is layer
    QTest.keyClick(canvas, Qt.Key.Key_2)
    assert layer.mode == "paint"
    QTest.keyPress(canvas, Qt.Key.Key_Space)
    assert layer.mode == "pan_zoom"
    QTest.keyRelease(canvas, Qt.Key.Key_Space)
    assert layer.mode == "paint"
    assert dock.words.text == WORDS


def test_shift_r_runs_whatever_was_clicked_last(dock, viewer, image, canvas):
    layers = viewer.window._qt_viewer.layers
    controls = viewer.window._qt_viewer.controls.widgets[image]
    for widget in (layers, controls.findChildren(QComboBox)[0], canvas):
        widget.setFocus()
        wait(focused(widget))
        QTest.keyClick(widget, Qt.Key.Key_R, SHIFT)
        assert dock.session.running, widget
        wait(lambda: not dock.session.running)


def test_in_the_words_letters_are_letters_and_the_canvas_is_a_key_away(dock, image, canvas):
    edit = dock.words.edit
    edit.setFocus()
    edit.selectAll()
    QTest.keyClick(edit, Qt.Key.Key_R, SHIFT)
    assert dock.words.text.upper() == "R"
    assert not dock.session.running
    QTest.keyClick(edit, Qt.Key.Key_Return, CONTROL)
    assert dock.session.running
    assert dock.words.text.upper() == "R"
    wait(lambda: not dock.session.running)
    QTest.keyClick(edit, Qt.Key.Key_Escape)
    wait(focused(canvas))
    QTest.keyClicks(canvas, "xyz")
    assert dock.words.text.upper() == "R"


def test_a_dock_that_opens_does_not_take_the_keyboard(dock, canvas, qtbot):
    qtbot.wait(100)
    assert not dock.isAncestorOf(QApplication.focusWidget() or canvas)


# What is over


def test_a_complaint_goes_once_its_cause_is_gone(dock, image):
    dock.words.set_text("tree: ,")
    dock.run()
    assert "correction" in dock.bar.notices.texts[0]
    dock.words.set_text("tree")
    assert dock.bar.notices.texts == []


def test_errors_and_receipts_of_an_export_belong_to_their_image(done, viewer, tmp_path):
    done.exporter.folder.setText("")
    done.export()
    assert "Choose a folder" in done.exporter.receipt.text()
    done.exporter.folder.setText(str(tmp_path))
    assert done.exporter.receipt.isHidden()
    done.export()
    wait(lambda: "Files:" in done.exporter.receipt.text())
    viewer.add_image(np.zeros((30, 40)), contrast_limits=(0, 1))
    assert done.exporter.receipt.isHidden()
    done.export()
    assert "run first" in done.exporter.receipt.text()
    run(done)
    assert done.exporter.receipt.isHidden()

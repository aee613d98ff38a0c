"""Corrections with one key or one press: the next best class of a region, and tidying."""

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication

from napari_prelabel.gui.correct import correct
from napari_prelabel.gui.correct.correct_box import KINDS
from napari_prelabel.gui.layers.seconds import Seconds
from napari_prelabel.gui.prelabel.class_table import LOCK
from napari_prelabel.values.labels import HUMAN, LabelMap
from napari_prelabel.values.vocabulary import Vocabulary

from gui_steps import labels, run, wait  # isort: skip

ABC = Vocabulary.parse("a\nb\nc")


def told(dock):
    return dock.bar.notices.texts[0]


def point(viewer, *where):
    viewer.cursor.position = where


@pytest.fixture
def three(dock, viewer, image):
    """Bands of dark, middle and bright; the fake engine's second-best is the darker one."""
    dock.words.set_text("dark\nmiddle\nbright")
    run(dock)
    layer = labels(viewer)
    assert sorted(np.unique(layer.data)) == [1, 2, 3]
    return dock


def press(dock):
    dock._keys["next"]()


def test_the_region_takes_its_next_best_class_and_comes_round(three, viewer, image):
    layer = labels(viewer)
    before, region = layer.data.copy(), labels(viewer).data == 3
    point(viewer, 30, 75)
    press(three)
    assert (layer.data[region] == 2).all()
    np.testing.assert_array_equal(layer.data[~region], before[~region])
    assert told(three).startswith("bright → [middle]")
    assert (three.session.result(image).annotation.provenance[region] == HUMAN).all()
    press(three)
    np.testing.assert_array_equal(layer.data, before)
    assert told(three).startswith("[bright] → middle")
    layer.undo()
    assert (layer.data[region] == 2).all()
    layer.undo()
    np.testing.assert_array_equal(layer.data, before)
    assert not three.session.result(image).annotation.human_pixels()


def test_a_region_is_not_one_with_a_neighbour_it_has_become_like(three, viewer):
    layer = labels(viewer)
    point(viewer, 30, 75)
    press(three)
    point(viewer, 30, 40)  # dark, once it is pressed; bright's region joins it
    press(three)
    assert (layer.data[:, 70:] == 1).all()


def test_why_there_is_no_next_class(three, viewer, image):
    layer = labels(viewer)
    point(viewer, -5, 3)
    press(three)
    assert "Point at a region" in told(three)
    point(viewer, 30, 2)  # the fake engine has no second below dark
    press(three)
    assert "No other class is known" in told(three)
    layer.data[0, 79] = 255
    three.session.result(image).annotation.found_different(layer.data)
    table = three.table.classes
    table.setData(table.index(2, LOCK), 2, Qt.ItemDataRole.CheckStateRole)
    point(viewer, 30, 75)
    press(three)
    assert "bright is locked" in told(three)


def test_pixels_to_ignore_have_no_next_class(viewer, three, image):
    result = three.session.result(image)
    result.layer.data = result.layer.data.astype(np.uint16)
    result.layer.data[:5, :5] = 65535
    result.annotation.found_different(result.layer.data)
    point(viewer, 2, 2)
    press(three)
    assert "marked as ignored" in told(three)


def test_without_labels_or_in_a_stroke_it_says_so(dock, viewer, image):
    press(dock)
    assert "no labels to correct" in told(dock)
    dock.words.set_text("dark\nbright")
    run(dock)
    with labels(viewer).block_history():
        labels(viewer).data_setitem((np.array([1]), np.array([1])), 2)
        press(dock)
        assert "Finish the stroke" in told(dock)
        dock.correct_box.tidy.emit("absorb")
        assert "Finish the stroke" in told(dock)


def test_an_undone_run_gives_back_the_seconds_before_it(three, viewer):
    three.words.set_text("dark\nbright")
    run(three)
    three.results.undo_button.click()
    point(viewer, 30, 40)
    press(three)
    assert told(three).startswith("middle → [dark]")


def test_what_was_said_of_a_correction_is_over_after_its_undo(three, viewer, image):
    result = speckled(three, viewer, image)
    assert "Tidied" in tidied(three, "absorb")
    result.layer.undo()
    assert three.bar.notices.texts == []


def tidied(dock, kind):
    dock.bar.say()
    dock.correct_box.tidy.emit(kind)
    wait(lambda: bool(dock.bar.notices.texts))
    return told(dock)


def speckled(dock, viewer, image):
    """Model answers with a speck of 3 in 1, one pixel of the person's, and a hole of 0 in 3."""
    result = dock.session.result(image)
    ids = result.annotation.model
    ids[10, 10] = ids[20:22, 10] = 3
    ids[30, 75] = 0
    result.annotation.blank_below(0.0)
    result.layer.data[...] = result.annotation.shown
    result.layer.refresh()
    result.layer.brush_size = 1
    result.layer.paint((40, 10), 3)
    return result


def test_tidy_absorbs_small_regions_and_leaves_the_persons(three, viewer, image):
    result = speckled(three, viewer, image)
    before = result.layer.data.copy()
    assert "Tidied 4 pixels" in tidied(three, "absorb")
    data = result.layer.data
    assert data[10, 10] == 1
    assert (data[20:22, 10] == 1).all()
    assert data[30, 75] == 3
    assert data[40, 10] == 3
    result.layer.undo()
    np.testing.assert_array_equal(result.layer.data, before)


@pytest.mark.parametrize(("kind", "count"), [("absorb_of", 3), ("fill_of", 1)])
def test_tidy_of_the_held_class_alone(three, viewer, image, kind, count):
    result = speckled(three, viewer, image)
    result.layer.selected_label = 3
    three.correct_box.button.menu().aboutToShow.emit()
    assert three.correct_box.actions_by_kind[kind].text() == KINDS[kind].format("bright")
    assert f"Tidied {count} pixel" in tidied(three, kind)


def test_tidy_keeps_locked_classes_and_says_when_there_is_nothing(three, viewer, image):
    speckled(three, viewer, image)
    table = three.table.classes
    table.setData(table.index(2, LOCK), 2, Qt.ItemDataRole.CheckStateRole)
    three.correct_box.least.setValue(3)
    assert "Tidied 1 pixel." in tidied(three, "absorb")  # the hole; the specks are locked
    assert tidied(three, "absorb") == "There was nothing to tidy."


def test_smooth_rounds_the_outline(three, viewer, image):
    result = three.session.result(image)
    result.layer.selected_label = 3
    result.annotation.model[28:30, 40:60] = 3
    result.annotation.blank_below(0.0)
    result.layer.data[...] = result.annotation.shown
    assert "Tidied" in tidied(three, "smooth_of")
    assert (result.layer.data[28:30, 40:45] != 3).all()


def test_labels_that_changed_meanwhile_are_not_written_over(three, viewer, image, monkeypatch):
    result = speckled(three, viewer, image)
    clean = correct._clean

    def slow(*how):
        QApplication.instance().thread().msleep(300)
        return clean(*how)

    monkeypatch.setattr(correct, "_clean", slow)
    three.bar.say()
    three.correct_box.tidy.emit("absorb")
    result.layer.paint((50, 10), 2)
    drawn = result.layer.data.copy()
    wait(lambda: bool(three.bar.notices.texts))
    assert "changed meanwhile" in told(three)
    np.testing.assert_array_equal(result.layer.data, drawn)


def test_a_failure_is_a_sentence(three, monkeypatch):
    monkeypatch.setattr(correct, "_clean", lambda *_: 1 / 0)
    assert "Tidying failed" in tidied(three, "absorb")
    assert three.correct_box.button.isEnabled()


def test_in_a_stack_only_the_slice_changes(dock, viewer):
    ramp = np.repeat(np.linspace(0, 255, 80, dtype=np.uint8)[None], 60, 0)
    viewer.add_image(np.stack([ramp, ramp, ramp]), name="ramp")
    dock.words.set_text("dark\nbright")
    dock.place.region.choose("slices")
    run(dock)
    layer = labels(viewer)
    before = layer.data.copy()
    viewer.dims.set_point(0, 1)
    point(viewer, 1, 30, 75)
    press(dock)
    assert told(dock).startswith("bright → [dark]")
    assert (layer.data[1] == 1).all()
    np.testing.assert_array_equal(layer.data[[0, 2]], before[[0, 2]])
    layer.undo()
    np.testing.assert_array_equal(layer.data, before)
    result = dock.session.result(dock.place.layer)
    result.annotation.model[:, 10, 10] = 2
    result.annotation.blank_below(0.0)
    layer.data[...] = result.annotation.shown
    assert "Tidied 1 pixel." in tidied(dock, "absorb")
    assert layer.data[:, 10, 10].tolist() == [2, 1, 2]


def answer(second, origin=(0, 0), words=ABC):
    second = np.asarray(second, np.uint16)
    score = np.zeros(second.shape, np.float16)
    return LabelMap(np.zeros_like(second), score, second, words, origin)


def test_seconds_are_counted_over_the_newest_answer_of_each_pixel():
    seconds, everything = Seconds(), np.ones((2, 4), bool)
    seconds.put("one", answer([[1, 1, 1, 1], [2, 2, 2, 2]]), ())
    seconds.put("two", answer([[3, 3], [3, 3]], (0, 2), Vocabulary.parse("x\ny\nz")), ())
    assert len(seconds.answers) == 2
    assert seconds.ranked((), everything) == ["z", "a", "b"]
    seconds.put("three", answer([[2, 2, 2, 2], [0, 0, 0, 0]]), ())
    assert len(seconds.answers) == 1
    assert seconds.ranked((), everything) == ["b"]
    assert seconds.ranked((1,), everything) == []
    seconds.undo("three")
    assert seconds.ranked((), everything) == ["z", "a", "b"]
    seconds.undo("unknown")
    assert not seconds.answers


def test_a_class_of_a_few_pixels_takes_no_part():
    second = np.ones((10, 20), np.uint16)
    second[0, :3] = 2
    seconds = Seconds()
    seconds.put("one", answer(second), ())
    assert seconds.ranked((), np.ones((10, 20), bool)) == ["a"]

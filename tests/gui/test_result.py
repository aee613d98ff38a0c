"""The result layer: napari's own tools on one side, runs on the other."""

import numpy as np
import pytest
from napari.layers import Labels

from napari_prelabel.gui.layers.result import UNDER_WAY, ResultLayer, dtype_for
from napari_prelabel.values.labels import HUMAN, LabelMap
from napari_prelabel.values.vocabulary import Vocabulary

ABC = Vocabulary.parse("a\nb\nc")


def answer(value, shape=(20, 30), score=1.0, vocabulary=ABC) -> LabelMap:
    ids = np.full(shape, value, np.uint16)
    return LabelMap(ids, np.full(shape, score, np.float16), np.zeros_like(ids), vocabulary)


def named(result):
    """Class name of every pixel, whatever its id."""
    names = ["", *result.annotation.vocabulary.names]
    return np.array([name.removesuffix(" (kept)") for name in names])[result.layer.data]


def run(result, found) -> None:
    step = result.annotation.begin()
    result.put(step, found, ())
    result.finish(step, {"vocabulary": found.vocabulary.to_dict()}, {})


@pytest.fixture
def result():
    made = ResultLayer(Labels(np.zeros((20, 30), np.uint16)), ABC)
    run(made, answer(1))
    return made


def test_names_and_colours_are_on_the_layer(result):
    features = result.layer.features
    assert list(features["name"]) == ["unlabelled", "a", "b", "c"]
    colours = result.layer.colormap.color_dict
    assert None in colours
    assert colours[0][3] == 0
    np.testing.assert_allclose(colours[2][:3], np.array(ABC.classes[1].rgb) / 255)


def test_paint_fill_and_polygon_are_locked(result):
    layer = result.layer
    layer.brush_size = 3
    layer.paint((5, 5), 2)
    layer.fill((19, 29), 3)
    layer.paint_polygon([[10, 10], [10, 14], [14, 14], [14, 10]], 2)
    drawn = layer.data.copy()
    assert (result.annotation.provenance == HUMAN).all()
    run(result, answer(1))
    np.testing.assert_array_equal(layer.data, drawn)


def test_napari_undo_frees_pixels_and_redo_takes_them_again(result):
    layer = result.layer
    layer.brush_size = 3
    layer.paint((5, 5), 2)
    layer.paint((5, 6), 3)
    drawn = layer.data.copy()
    layer.undo()
    layer.undo()
    assert (layer.data == 1).all()
    assert not result.annotation.human_pixels()
    layer.redo()
    layer.redo()
    np.testing.assert_array_equal(layer.data, drawn)
    run(result, answer(1))
    np.testing.assert_array_equal(layer.data, drawn)


def test_undo_walks_back_through_strokes_and_runs_in_their_order_and_redo_forward(result):
    layer, said = result.layer, []
    result.walked.add(said.append)
    layer.brush_size = 1
    states = [layer.data.copy()]
    for act in (
        lambda: layer.paint((5, 5), 2),
        lambda: run(result, answer(3, vocabulary=Vocabulary.parse("b\nz\na"))),  # b is now 1
        lambda: layer.paint((6, 6), 2),
    ):
        act()
        states.append(named(result))
    layer.undo()
    assert not said
    np.testing.assert_array_equal(named(result), states[2])
    layer.undo()
    assert "Ctrl+Shift+Z" in said[-1]
    np.testing.assert_array_equal(named(result), states[1])
    layer.undo()
    np.testing.assert_array_equal(layer.data, states[0])
    layer.undo()
    layer.undo()
    assert not layer.data.any()  # the first run of all
    for _ in states[1:]:
        layer.redo()
    layer.redo()
    np.testing.assert_array_equal(named(result), states[3])
    assert len(said) == 4


def test_a_run_under_way_is_not_undone_by_a_key_for_strokes(result):
    said = []
    result.walked.add(said.append)
    result.layer.brush_size = 1
    result.layer.paint((5, 5), 2)
    step = result.annotation.begin()
    result.put(step, answer(3), ())
    before = result.layer.data.copy()
    result.layer.undo()
    np.testing.assert_array_equal(result.layer.data, before)
    assert said == [UNDER_WAY]
    result.finish(step, {"vocabulary": ABC.to_dict()}, {})
    result.layer.undo()
    assert (result.layer.data == 1).sum() == result.layer.data.size - 1


def test_what_others_wrote_is_undone_like_a_stroke(result):
    layer = result.layer
    layer.paint((5, 5), 2)
    layer.data[5, 5] = 3
    layer.undo()
    assert layer.data[5, 5] == 2
    layer.undo()
    assert layer.data[5, 5] == 1
    layer.data[5, 5] = 3
    layer.redo()
    assert layer.data[5, 5] == 3


def test_a_label_without_a_name_becomes_a_class_and_the_brush_keeps_it(result):
    layer = result.layer
    layer.brush_size = 1
    layer.selected_label = 9
    layer.paint((5, 5), 9)
    assert layer.data[5, 5] == layer.selected_label == 4
    assert list(layer.features["name"])[4] == "label 9"
    layer.data[6, 6] = 200
    run(result, answer(1))
    assert layer.data[6, 6] == 5
    layer.undo()
    layer.undo()
    layer.undo()
    assert not result.annotation.human_pixels()


def test_a_grouped_edit_is_one_stroke(result):
    layer = result.layer
    with layer.block_history():
        layer.data_setitem((np.array([1, 2]), np.array([3, 4])), 2)
        assert result.drawing
        layer.data_setitem((np.array([5]), np.array([6])), 3)
    assert not result.drawing
    assert result.annotation.human_pixels() == 3
    layer.undo()
    assert result.annotation.human_pixels() == 0
    assert (layer.data == 1).all()


def test_pixels_written_without_napari_events_are_kept(result):
    result.layer.data[2, 2] = 3
    result.layer.refresh()
    run(result, answer(2))
    assert result.layer.data[2, 2] == 3


def test_slider_and_undo_run_reach_the_layer(result):
    run(result, answer(2, score=0.4))
    result.blank_below(0.5)
    assert not result.layer.data.any()
    result.blank_below(0.0)
    assert (result.layer.data == 2).all()
    assert result.undo_run()
    assert (result.layer.data == 1).all()


def test_hidden_classes_are_only_not_drawn(result):
    result.recolour({"b": "#102030"}, frozenset({"a"}))
    colours = result.layer.colormap.color_dict
    assert colours[1][3] == 0
    np.testing.assert_allclose(colours[2], [16 / 255, 32 / 255, 48 / 255, 1], atol=1e-3)
    assert (result.layer.data == 1).all()


def test_a_layer_knows_its_result(result):
    assert ResultLayer.of(result.layer) is result
    assert ResultLayer.of(Labels(np.zeros((2, 2), np.uint8))) is None


def test_labels_that_were_there_are_the_persons():
    made = ResultLayer(Labels(np.eye(3, dtype=np.uint16)), ABC)
    run(made, answer(2, (3, 3)))
    assert made.layer.data.diagonal().tolist() == [1, 1, 1]


def test_many_classes_make_the_layer_wider():
    made = ResultLayer(Labels(np.zeros((2, 2), np.uint8)), ABC)
    many = Vocabulary.parse("\n".join(f"c{i}" for i in range(300)))
    ids = np.array([[0, 1], [299, 300]], np.uint16)
    step = made.annotation.begin()
    made.put(step, LabelMap(ids, np.ones(ids.shape, np.float16), ids * 0, many), ())
    np.testing.assert_array_equal(made.layer.data, ids)
    assert dtype_for(many) is np.uint16
    assert dtype_for(ABC) is np.uint8

"""Labels that were opened or that others made, lying on an image: they are offered, then count."""

import warnings

import dask.array as da
import numpy as np
import pytest
from napari.layers._layer_actions import _convert_to_labels
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest

from napari_prelabel.annotation import kept
from napari_prelabel.gui.correct.keeper import key_of
from napari_prelabel.gui.layers.result import METADATA, ResultLayer
from napari_prelabel.values.labels import HUMAN, IMPORTED, MODEL
from napari_prelabel.values.vocabulary import Vocabulary

from gui_steps import WORDS, run, wait  # isort: skip


def mask(dtype=np.int32):
    ids = np.zeros((60, 80), dtype)
    ids[:10], ids[10:20] = 1, 2
    return ids


def offered(dock):
    wait(lambda: not dock.lying.isHidden())
    return dock.lying


def use(dock):
    offered(dock).use_button.click()
    wait(lambda: dock.session.result(dock.place.layer) is not None)
    return dock.session.result(dock.place.layer)


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.int64])
@pytest.mark.parametrize("first", ["image", "labels"])
def test_a_mask_is_offered_as_soon_as_it_lies_on_the_image(dock, viewer, first, dtype, request):
    if first == "labels":
        layer = viewer.add_labels(mask(dtype), name="mask")
        image = request.getfixturevalue("image")
    else:
        image = request.getfixturevalue("image")
        layer = viewer.add_labels(mask(dtype), name="mask")
    assert "'mask' lie on this image" in offered(dock).text.text()
    result = use(dock)
    assert result.layer is layer
    assert result.image() is image
    assert result.annotation.vocabulary.names == ("label 1", "label 2")
    assert (result.annotation.provenance[:20] == IMPORTED).all()
    assert dock.lying.isHidden()
    assert dock.words.text.split("\n")[:2] == ["label 1", "label 2"]


def test_a_mask_converted_by_napari_is_used_with_the_words_in_order(dock, viewer, image):
    dock.words.set_text(WORDS)
    viewer.layers.selection.active = viewer.add_image(mask(np.uint8), name="mask")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # napari's own, about its projection modes
        _convert_to_labels(viewer.layers)
    dock.place.image.choose(image)
    assert offered(dock).names.text() == "dark, bright"
    result = use(dock)
    run(dock)
    assert [x.name for x in viewer.layers] == ["ramp", "mask"]
    assert (result.layer.data[:20] == mask()[:20]).all()
    assert (result.layer.data[20:] > 0).all()


def test_strokes_before_and_after_are_the_persons_kept_and_undone(dock, viewer, image):
    layer = viewer.add_labels(mask(), name="mask")
    layer.brush_size = 1
    layer.paint((30, 30), 2)
    layer.paint((5, 5), 2)
    result = use(dock)
    notes = result.annotation
    assert notes.provenance[30, 30] == notes.provenance[5, 5] == HUMAN
    assert notes.provenance[5, 6] == IMPORTED
    layer.paint((40, 40), 1)
    assert notes.human_pixels() == 20 * 80 + 2
    dock.keeper.flush()
    dock.keeper._writer.join()
    assert kept.offers(key_of(image))[0].human == 20 * 80 + 2
    for _ in range(3):
        layer.undo()
    np.testing.assert_array_equal(layer.data, mask())
    assert notes.provenance[5, 5] == IMPORTED
    assert notes.provenance[30, 30] == MODEL
    layer.redo()
    assert layer.data[30, 30] == 2


@pytest.mark.parametrize("ours", [False, True])
def test_the_persons_own_array_and_file_stay_as_they_are(dock, viewer, image, tmp_path, ours):
    file = np.memmap(tmp_path / "mask.raw", np.uint8, "w+", shape=(60, 80))
    file[:] = mask() * 10
    about = {METADATA: {"classes": Vocabulary.parse("a\nb").to_dict(), "image": image.name}}
    if ours:
        file[:] = mask()
    layer = viewer.add_labels(file, name="mask", metadata=about if ours else {})
    layer.brush_size = 1
    layer.paint((30, 30), int(file[15, 0]))
    before = file.copy()
    result = dock.session.result(image) if ours else use(dock)
    layer.paint((40, 40), 1)
    layer.undo()
    layer.paint((50, 50), 1)
    assert layer.data[50, 50] == 1
    assert layer.data[30, 30] == 2
    assert (result.layer.data[:10] == 1).all()
    np.testing.assert_array_equal(file, before)


def test_what_a_stroke_covered_wholly_has_its_class_again_after_undo(dock, viewer, image):
    ids = mask(np.int16)
    ids[50, 50] = 3
    layer = viewer.add_labels(ids * 10, name="mask")
    layer.brush_size = 5
    layer.selected_label = 20
    layer.paint((50, 50), 20)
    assert offered(dock).names.text() == "label 10, label 20"
    result = use(dock)
    assert result.annotation.name_of(layer.selected_label) == "label 20"
    layer.undo()
    assert result.annotation.name_of(int(layer.data[50, 50])) == "label 30"


def test_more_classes_than_a_byte_holds(dock, viewer, image):
    ids = np.zeros((60, 80), np.int8)
    ids[:51, :5] = np.arange(-128, 127).reshape(51, 5)
    viewer.add_labels(ids, name="mask")
    result = use(dock)
    named = result.annotation.name_of
    assert named(int(result.layer.data[0, 0])) == "label -128"
    assert named(int(result.layer.data[50, 4])) == "label 126"


def test_ids_with_gaps_are_asked_for_and_named(dock, viewer, image):
    ids = mask(np.int64) * 200_000
    ids[20:30] = -3
    layer = viewer.add_labels(ids, name="mask")
    row = offered(dock)
    assert row.names.text() == "label -3, label 200000, label 400000"
    row.names.setText("sea, land")
    row.use_button.click()
    assert "3 names" in dock.bar.notices.texts[0]
    row.names.setText("sea, land, sea")
    QTest.keyClick(row.names, Qt.Key.Key_Return)
    wait(lambda: ResultLayer.of(layer) is not None)
    result = ResultLayer.of(layer)
    assert result.annotation.counts() == {"": 30 * 80, "sea": 20 * 80, "land": 10 * 80}
    assert dock.words.text == "sea\nland\n"


def test_the_layers_own_names_come_first(dock, viewer, image):
    features = {"index": [0, 1, 2], "name": ["background", "wood", "meadow"]}
    dock.words.set_text(WORDS)
    viewer.add_labels(mask(), name="mask", features=features)
    assert offered(dock).names.text() == "wood, meadow"
    assert use(dock).annotation.vocabulary.names == ("wood", "meadow")
    assert dock.words.text == WORDS


def test_a_name_that_can_be_none_is_told(dock, viewer, image):
    viewer.add_labels(mask(), name="mask")
    offered(dock).names.setText("a, " + "b" * 300)
    dock.lying.use_button.click()
    wait(lambda: bool(dock.bar.notices.texts))
    assert "at most 200 characters" in dock.bar.notices.texts[0]


def test_refused_labels_are_asked_for_no_more_and_left_alone(dock, viewer, image, qtbot):
    layer = viewer.add_labels(mask(), name="mask")
    offered(dock).refuse_button.click()
    assert dock.lying.isHidden()
    viewer.add_points(np.zeros((1, 2)))
    qtbot.wait(50)
    assert dock.lying.isHidden()
    dock.words.set_text(WORDS)
    run(dock)
    np.testing.assert_array_equal(layer.data, mask())


@pytest.mark.parametrize(
    "add",
    [
        lambda v: v.add_labels(da.from_array(mask())),
        lambda v: v.add_labels([mask(), mask()[::2, ::2]], multiscale=True),
        lambda v: v.add_labels(mask()[:, :79]),
        lambda v: v.add_labels(mask(), translate=(5, 0)),
        lambda v: v.add_labels(mask(), scale=(2, 2)),
        lambda v: v.add_labels(np.arange(4800).reshape(60, 80)),
    ],
    ids=["dask", "multiscale", "size", "place", "scale", "instances"],
)
def test_what_lies_elsewhere_or_cannot_be_edited_is_passed_over(dock, viewer, image, add, qtbot):
    layer = add(viewer)
    qtbot.wait(150)
    assert dock.lying.isHidden()
    if layer.translate.any():
        layer.translate = (0, 0)
        offered(dock)


def test_labels_on_a_coarse_level_and_beside_channels_are_found(dock, viewer):
    levels = [np.zeros((2400, 3000)), np.zeros((1200, 1500))]
    viewer.add_image(levels, multiscale=True, contrast_limits=(0, 1), scale=(0.5, 0.5))
    viewer.add_labels(np.ones((1200, 1500), np.uint8), scale=(1, 1), translate=(0.25, 0.25))
    offered(dock)
    dock.lying.refuse()
    viewer.add_image(np.zeros((60, 80, 5)), contrast_limits=(0, 1))
    viewer.add_labels(mask())
    offered(dock)


def test_our_own_labels_count_at_once(dock, viewer, image, qtbot):
    classes = Vocabulary.parse(WORDS).to_dict()
    layer = viewer.add_labels(mask(), metadata={METADATA: {"classes": classes, "image": "ramp"}})
    wait(lambda: ResultLayer.of(layer) is not None)
    layer.paint((40, 40), 2)
    assert ResultLayer.of(layer).annotation.provenance[40, 40] == HUMAN
    qtbot.wait(50)
    assert dock.lying.isHidden()


def test_an_empty_layer_to_paint_in_is_offered_too(dock, viewer, image):
    viewer.add_labels(np.zeros((60, 80), np.uint8), name="Labels")
    assert offered(dock).names.isHidden()
    result = use(dock)
    result.layer.paint((5, 5), 1)
    assert result.annotation.counts()["label 1"] > 0


def test_pixels_assigned_under_napari_undo_stay_as_they_are(dock, viewer, image):
    layer = viewer.add_labels(mask(), name="mask")
    layer.paint((30, 30), 2)
    layer.data = mask()[::-1].copy()
    result = use(dock)
    np.testing.assert_array_equal(result.layer.data, mask()[::-1])


def test_nothing_is_taken_up_in_the_middle_of_a_stroke(dock, viewer, image):
    layer = viewer.add_labels(mask(), name="mask")
    offered(dock)
    layer._begin_stroke()
    layer.paint((30, 30), 2)
    dock.lying.use_button.click()
    assert "Finish the stroke" in dock.bar.notices.texts[0]
    layer._commit_stroke()
    assert use(dock).annotation.provenance[30, 30] == HUMAN

"""One afternoon of a person, from File > Open to the second run, with a real worker."""

import warnings

import numpy as np
import pytest
from napari.layers import Image, Labels
from napari.layers._layer_actions import _convert_to_labels
from PIL import Image as Picture
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest

from napari_prelabel.gui.layers.result import ResultLayer
from napari_prelabel.gui.run.session import SUFFIX
from napari_prelabel.values.labels import HUMAN, IMPORTED
from napari_prelabel.values.samples import sample_path

from gui_steps import wait  # isort: skip

CONTROL, SHIFT = Qt.KeyboardModifier.ControlModifier, Qt.KeyboardModifier.ShiftModifier
WORDS = "sky\nsea\nsand\ngrass"


def files(folder):
    """A foreign PNG, a picture, and a mask of it that holds two of the classes only."""
    Picture.fromarray(np.arange(96, dtype=np.uint8).reshape(8, 12)).save(folder / "notes.png")
    with Picture.open(sample_path("scenes", "images", "scene-18.png")) as picture:
        picture.save(folder / "beach.png")
        height = picture.height
        ids = np.zeros((height, picture.width), np.uint8)
    ids[:10], ids[-10:] = 1, 3
    Picture.fromarray(ids).save(folder / "beach_mask.png")
    return ids


def run(dock):
    dock.bar.run_button.click()
    wait(lambda: not dock.session.running, 200)
    assert dock.bar.stage.text() == "Done.", dock.bar.notices.texts


def named(result):
    """Class name of every pixel."""
    return np.array(["", *result.annotation.vocabulary.names])[result.layer.data]


def adopt_mask(dock, viewer, folder):
    """The mask, opened as napari opens it and turned to labels by its layer menu, is used."""
    (beach,) = viewer.open(str(folder / "beach.png"))
    (mask,) = viewer.open(str(folder / "beach_mask.png"))
    assert isinstance(mask, Image)
    viewer.layers.selection = {mask}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # napari's own, about its projection modes
        _convert_to_labels(viewer.layers)
    layer = viewer.layers["beach_mask"]
    assert isinstance(layer, Labels)
    viewer.layers.selection = {layer}
    assert dock.place.layer is beach
    wait(lambda: not dock.lying.isHidden())
    assert dock.lying.names.text() == "sky, sand"
    dock.lying.use_button.click()
    wait(lambda: ResultLayer.of(layer) is not None)
    return ResultLayer.of(layer)


@pytest.mark.timeout(280)
def test_open_paint_run_undo_redo_export_open_run_again(real_dock, viewer, tmp_path):
    dock, mask = real_dock, files(tmp_path)
    canvas = viewer.window._qt_viewer.canvas.native
    (notes,) = viewer.open(str(tmp_path / "notes.png"))
    assert isinstance(notes, Image)
    dock.words.set_text(WORDS)
    result = adopt_mask(dock, viewer, tmp_path)
    layer, provenance = result.layer, result.annotation.provenance
    assert (provenance[mask > 0] == IMPORTED).all()

    layer.brush_size, layer.selected_label = 9, 2
    layer.paint((30, 40), 2)
    drawn = provenance == HUMAN
    before = named(result)
    run(dock)
    after = named(result)
    fixed = drawn | (mask > 0)
    np.testing.assert_array_equal(after[fixed], before[fixed])
    assert (after[~fixed] != "").mean() > 0.9

    viewer.layers.selection = {layer}
    canvas.setFocus()
    QTest.keyClick(canvas, Qt.Key.Key_Z, CONTROL)
    assert "Ctrl+Shift+Z" in viewer.status
    np.testing.assert_array_equal(named(result), before)
    QTest.keyClick(canvas, Qt.Key.Key_Z, CONTROL)
    assert not (provenance == HUMAN).any()
    for _ in range(2):
        QTest.keyClick(canvas, Qt.Key.Key_Z, CONTROL | SHIFT)
    np.testing.assert_array_equal(named(result), after)
    np.testing.assert_array_equal(provenance == HUMAN, drawn)

    dock.exporter.folder.setText(str(tmp_path / "out"))
    wait(lambda: dock.exporter.format.count() > 0)
    dock.exporter.button.click()
    wait(lambda: dock.exporter.button.isEnabled())
    viewer.layers.remove(layer)
    viewer.open(str(tmp_path / "out" / "beach.png"))
    wait(lambda: any(ResultLayer.of(x) for x in viewer.layers if isinstance(x, Labels)))
    again = dock.session.result(viewer.layers["beach"])
    np.testing.assert_array_equal(named(again), after)
    dock.words.set_text("sand\nsea\nsky\ngrass")
    run(dock)
    assert list(again.annotation.vocabulary.names[:2]) == ["sand", "sea"]
    np.testing.assert_array_equal(named(again)[fixed], after[fixed])
    assert not [x.name for x in viewer.layers if x.name.endswith(SUFFIX)]

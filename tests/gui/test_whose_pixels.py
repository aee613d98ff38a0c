"""Export, close, open, run again: the model's pixels follow the run, the person's stay."""

import numpy as np
import pytest
from napari.layers import Labels
from PIL import Image

from napari_prelabel.annotation.owned import OWNED
from napari_prelabel.formats import FORMATS
from napari_prelabel.formats.provenance import beside
from napari_prelabel.gui.layers import opened
from napari_prelabel.gui.layers.io import read, write
from napari_prelabel.gui.layers.result import ResultLayer
from napari_prelabel.gui.prelabel.dock import PrelabelDock
from napari_prelabel.gui.reference.pairs import find_pairs, take
from napari_prelabel.gui.run.place_box import SLICES
from napari_prelabel.gui.run.runner import Runner
from napari_prelabel.values.labels import HUMAN, IMPORTED, MODEL

from gui_steps import MODELS, run, wait  # isort: skip

PAINTED = np.s_[..., 20:30, 10:20]


def ramp():
    grey = np.repeat(np.linspace(0, 255, 80, dtype=np.uint8)[None], 60, 0)
    return np.dstack([grey] * 3)


def result_of(dock):
    return dock.session.result(dock.place.layer)


def paint(layer, label, where):
    """A stroke of napari's over a box, in each plane of a stack."""
    mask = np.zeros(layer.data.shape, bool)
    mask[where] = True
    layer.data_setitem(np.nonzero(mask), label)


def export(dock, folder, name):
    """Export through the dock, as a person does; returns the files."""
    box = dock.exporter
    wait(lambda: box.format.count() > 0)
    box.folder.setText(str(folder))
    box.format.setCurrentIndex(box.format.findData(name))
    dock.export()
    wait(lambda: box.button.isEnabled() and not box.receipt.isHidden())
    assert "every pixel is as on the screen" in box.receipt.text(), box.receipt.text()
    return sorted(p for p in folder.iterdir() if not p.name.startswith("."))


def closed(viewer, dock):
    """Everything is closed and forgotten; what comes is a new dock."""
    viewer.window.remove_dock_widget(dock)
    viewer.layers.clear()


def new_dock(viewer, pool):
    made = PrelabelDock(viewer, Runner(lambda: pool))
    viewer.window.add_dock_widget(made, name="Pre-label", area="right")
    made.models.apply(MODELS)
    return made


def opened_in(viewer, dock, path):
    """Open a file of labels the way its kind is opened, and wait for the dock to take it up."""
    viewer.open(str(path), plugin=None)
    wait(lambda: any(isinstance(x, Labels) for x in viewer.layers))
    wait(lambda: "labels of the image now" in dock.results.changed.text())
    return result_of(dock)


def labels_file(files, name):
    return next(f for f in files if f.suffix == FORMATS[name].suffix and "labels" not in f.name)


@pytest.mark.parametrize("name", tuple(FORMATS))
def test_export_close_open_run_again(viewer, pool, tmp_path, name):
    Image.fromarray(ramp()).save(tmp_path / "ramp.png")
    dock = new_dock(viewer, pool)
    viewer.open(str(tmp_path / "ramp.png"), plugin="napari")
    dock.words.set_text("dark\nbright")
    run(dock)
    layer = result_of(dock).layer
    paint(layer, 2, PAINTED)
    before = layer.data.copy()
    files = export(dock, tmp_path / "out", name)
    path = labels_file(files, name)
    assert beside(path) in files
    closed(viewer, dock)
    dock = new_dock(viewer, pool)
    viewer.open(str(tmp_path / "ramp.png"), plugin="napari")
    result = opened_in(viewer, dock, path)
    notes = result.annotation
    np.testing.assert_array_equal(result.layer.data, before)
    assert (notes.provenance[PAINTED] == HUMAN).all()
    assert notes.human_pixels() == 100
    # Other words of other bands: what was dark is "a" to a third, "b" to a sixth of the ramp.
    dock.words.set_text("bright\nb\nc")
    run(dock)
    assert result_of(dock) is result
    shown = result.annotation
    mine = np.zeros(shown.shown.shape, bool)
    mine[PAINTED] = True
    named = np.vectorize(shown.name_of)(result.layer.data)
    assert (named[mine] == "bright").all(), "the person's stay"
    bands = np.array(["bright", "b", "c"])[np.minimum(ramp()[..., 0] * 3.0 / 256, 2).astype(int)]
    assert (named[~mine] == bands[~mine]).all(), "the model's follow"


def test_a_stack_too(viewer, pool, tmp_path):
    import tifffile

    stack = np.stack([ramp()[..., 0], ramp()[::-1, ::-1, 0]])
    tifffile.imwrite(tmp_path / "stack.tif", stack, photometric="minisblack")
    dock = new_dock(viewer, pool)
    viewer.open(str(tmp_path / "stack.tif"), plugin="napari")
    dock.words.set_text("dark\nbright")
    dock.place.region.choose(SLICES)
    run(dock)
    layer = result_of(dock).layer
    assert layer.data.all()
    paint(layer, 2, np.s_[1, 20:30, 60:70])
    files = export(dock, tmp_path / "out", "tiff")
    closed(viewer, dock)
    dock = new_dock(viewer, pool)
    viewer.open(str(tmp_path / "stack.tif"), plugin="napari")
    result = opened_in(viewer, dock, labels_file(files, "tiff"))
    assert (result.annotation.provenance[1, 20:30, 60:70] == HUMAN).all()
    assert result.annotation.human_pixels() == 100
    dock.words.set_text("bright\nb\nc")
    dock.place.region.choose(SLICES)
    run(dock)
    named = np.vectorize(result.annotation.name_of)(result.layer.data)
    assert (named[1, 20:30, 60:70] == "bright").all()
    assert named[0, 0, 0] == "bright"
    assert named[0, 0, -1] == "c"


def test_a_file_that_does_not_fit_is_told_and_all_is_imported(done, viewer, pool, tmp_path):
    layer = result_of(done).layer
    paint(layer, 2, PAINTED)
    files = export(done, tmp_path / "out", "tiff")
    path = labels_file(files, "tiff")
    beside(path).write_text("{}")
    closed(viewer, done)
    dock = new_dock(viewer, pool)
    viewer.add_image(ramp(), name="ramp", rgb=True)
    opened.open_labels(viewer, [str(path)])
    wait(lambda: "is damaged" in dock.results.changed.text())
    notes = result_of(dock).annotation
    assert (notes.provenance[notes.shown > 0] == IMPORTED).all()


def test_napari_saves_whose_the_pixels_are_as_well(done, viewer, tmp_path):
    layer = result_of(done).layer
    paint(layer, 2, PAINTED)
    layer.data[0, 0] = 2  # by somebody's script
    for name, file in (("png", "a.png"), ("tiff", "b.tif"), ("coco", "c.json")):
        path = tmp_path / file
        write(name, str(path), layer.data, layer.as_layer_data_tuple()[1])
        write(name, str(path), layer.data, layer.as_layer_data_tuple()[1])
        (found,) = FORMATS[name].read(path, None)
        assert (found.provenance[PAINTED] == HUMAN).all()
        assert found.provenance[0, 0] == HUMAN
        assert int((found.provenance != MODEL).sum()) == 101
        assert len(list(tmp_path.glob(f"{file}*"))) == 2
        data, attributes, _ = read(str(path))[0]
        again = tmp_path / f"again-{file}"
        write(name, str(again), data, attributes)
        (found,) = FORMATS[name].read(again, None)
        assert int((found.provenance != MODEL).sum()) == 101
    assert [p.name for p in tmp_path.glob(".*")] == [".prelabel.lock"]


def test_a_copy_of_a_result_is_imported(done, viewer, image):
    layer = result_of(done).layer
    copy = Labels(layer.data.copy(), metadata=layer.metadata, name="ramp labels")
    assert copy.metadata[OWNED].live
    result = ResultLayer.adopt(copy, image)
    assert (result.annotation.provenance == IMPORTED).all()


def test_a_set_learns_no_pixel_of_a_models_that_a_file_brought(done, viewer, tmp_path, image):
    layer = result_of(done).layer
    paint(layer, 2, PAINTED)
    path = labels_file(export(done, tmp_path / "out", "tiff"), "tiff")
    viewer.layers.remove(layer)
    done.leave()
    opened.open_labels(viewer, [str(path)])
    (pair,) = find_pairs(list(viewer.layers))
    assert pair.result is None
    assert int((take(pair, mine_only=True).ids > 0).sum()) == 100
    assert take(pair).ids.all()

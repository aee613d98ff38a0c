"""Every kind of picture, opened by napari's own reader: the dock labels as the command line."""

import json
import os
import sys
import time
from pathlib import Path

import napari
import numpy as np
import pytest
import tifffile
from napari.layers import Image
from pictures import DATA, DEEP, FLOAT, KINDS, RGB, tiff
from qtpy.QtCore import QEvent
from qtpy.QtWidgets import QApplication
from rgb_engine import WORDS, RgbEngine, ids_of

from napari_prelabel.annotation import kept
from napari_prelabel.batch import run_batch
from napari_prelabel.formats import FORMATS, Options
from napari_prelabel.formats.tiff import read_tiff
from napari_prelabel.gui import remember
from napari_prelabel.gui.prelabel.dock import PrelabelDock
from napari_prelabel.gui.run import runner
from napari_prelabel.gui.run.runner import Runner
from napari_prelabel.images.find import find_images
from napari_prelabel.images.read import read_image
from napari_prelabel.values.job import Job
from napari_prelabel.worker.pool import Pool

MODELS = "vitb16-shape"
CASES = sorted(p.name for p in DATA.iterdir() if p.suffix in (".tif", ".png", ".jpg"))


@pytest.fixture(scope="session", autouse=True)
def _display():
    if sys.platform == "linux" and not os.environ.get("DISPLAY", os.environ.get("WAYLAND_DISPLAY")):
        pytest.exit("The tests of the window need a display: run `make test`.", returncode=1)


@pytest.fixture(scope="module")
def pool():
    before = os.environ.get("PYTHONPATH", "")
    here = str(Path(__file__).parent)
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [here, before]))
    with Pool(engine="rgb_engine:RgbEngine") as made:
        made.start()
        yield made
    os.environ["PYTHONPATH"] = before


@pytest.fixture(scope="module")
def window(qapp):
    made = napari.Viewer(show=False)  # nothing is looked at here, and drawing takes time
    yield made
    made.close()


@pytest.fixture(scope="module")
def one_dock(window, pool, tmp_path_factory):
    """One dock for all pictures; making one takes longer than labelling one."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runner, "_pool", pool)
        patch.setattr(remember, "_path", lambda: home / "config" / "dock.json")
        patch.setattr(kept, "folder", lambda: home / "kept")
        made = PrelabelDock(window, Runner(lambda: pool))
        window.window.add_dock_widget(made, name="Pre-label", area="right")
        made.models.apply(MODELS)
        made.words.set_text(WORDS)
        yield made
        for widget in list(window.window.dock_widgets.values()):
            window.window.remove_dock_widget(widget)
        QApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
        QApplication.processEvents()


@pytest.fixture
def dock(one_dock, window):
    """The dock without images, and without what an earlier test said."""
    one_dock.exporter.receipt.clear()
    yield one_dock
    window.layers.clear()
    QApplication.processEvents()


def wait(done, seconds=60.0):
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, "it took too long"
        QApplication.processEvents()
        time.sleep(0.002)


def labelled(dock):
    """Run on all planes; (the labels of the dock, its job)."""
    dock.place.region.choose("slices")
    job = dock.job()
    dock.bar.run_button.click()
    wait(lambda: not dock.session.running)
    result = dock.session.result(dock.place.layer)
    assert result is not None, dock.bar.notices.texts
    return np.array(result.layer.data), job


def by_command_line(path, job, out):
    """The labels that `prelabel run --job` writes, read back from its TIFFs, plane by plane."""
    job = Job.from_json(job.to_json())
    steps = run_batch(RgbEngine(), job, find_images([str(path)]), out, "tiff", Options())
    for _ in steps:
        pass
    planes = []
    for file in sorted(out.glob("*.tif")):
        (image,) = read_tiff(file)
        planes += list(image.ids.reshape(-1, *image.ids.shape[-2:]))
    return planes


def agree(dock, path, tmp_path):
    """The dock's planes are those of the command line's that napari shows."""
    ids, job = labelled(dock)
    written = by_command_line(path, job, tmp_path / "out")
    shown = [written[i] for i in read_image(path).first]
    np.testing.assert_array_equal(ids.reshape(-1, *ids.shape[-2:]), np.stack(shown))
    return ids, job


def opened(window, path):
    window.open(str(path), plugin="napari")
    return window.layers[-1]


@pytest.mark.parametrize("name", sorted(KINDS))
def test_a_picture_of_every_kind(name, dock, window, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    path, right = KINDS[name](folder)
    if right.unseen:
        pytest.skip("napari shows another picture of this file")
    opened(window, path)
    _, job = agree(dock, path, tmp_path)
    assert job.display.limits == job.display.channels == ()


@pytest.mark.parametrize("name", CASES)
def test_a_file_that_went_wrong(name, dock, window, tmp_path):
    opened(window, DATA / name)
    agree(dock, DATA / name, tmp_path)


def test_what_is_no_picture_stays_unlabelled(dock, window):
    opened(window, DATA / "nodata_-9999.tif")
    ids, _ = labelled(dock)
    np.testing.assert_array_equal(ids == 0, window.layers[0].data == -9999)


def test_limits_that_were_moved_are_followed(dock, window, tmp_path):
    path, _ = tiff(tmp_path, DEEP[..., 0], None)
    layer = opened(window, path)
    assert dock.place.values.text.text().startswith("Automatic")
    assert dock.place.values.back.isHidden()
    before, _ = agree(dock, path, tmp_path / "automatic")
    layer.contrast_limits = (1000, 3000)
    assert dock.place.values.text.text() == "From 1,000 to 3,000, as its contrast limits"
    ids, job = agree(dock, path, tmp_path / "moved")
    assert job.display.limits == ((1000.0, 3000.0),)
    assert (ids != before).any()
    dock.place.values.back.click()
    again, job = agree(dock, path, tmp_path / "back")
    assert job.display.limits == ()
    np.testing.assert_array_equal(again, before)


def test_bytes_say_nothing_until_their_limits_are_moved(dock, window, tmp_path):
    path, _ = tiff(tmp_path, RGB[..., 0], None)
    layer = opened(window, path)
    assert dock.place.values.isHidden()
    layer.contrast_limits = (50, 180)
    assert not dock.place.values.isHidden()
    _, job = agree(dock, path, tmp_path)
    assert job.display.limits == ((50.0, 180.0),)


def test_channels_that_were_chosen_are_followed(dock, window, tmp_path):
    opened(window, DATA / "five_bands.tif")
    for combo, channel in zip(dock.place.channels, (4, 1, 0), strict=True):
        combo.choose(channel)
    _, job = agree(dock, DATA / "five_bands.tif", tmp_path)
    assert job.display.channels == (4, 1, 0)


def test_two_channels_leave_blue_empty(dock, window, tmp_path):
    data = np.moveaxis(DEEP[..., :2], -1, 0)
    path, _ = tiff(tmp_path, data, None, imagej=True, metadata={"axes": "CYX"})
    opened(window, path)
    assert [c.currentData() for c in dock.place.channels] == [0, 1, None]
    dock.place.channels[0].choose(1)
    dock.place.channels[2].choose(1)
    _, job = agree(dock, path, tmp_path)
    assert job.display.channels == (1,)


def test_settings_bring_their_limits_and_channels(dock, window, tmp_path):
    opened(window, DATA / "five_bands.tif")
    data = json.loads(dock.job().to_json())
    data["display"] = {"limits": [[0, 90], [10, 70], [5, 50]], "channels": [2, 1, 4]}
    (tmp_path / "job.json").write_text(json.dumps(data))
    dock.files.load(tmp_path / "job.json")
    assert dock.exporter.receipt.text() == ""
    _, job = agree(dock, DATA / "five_bands.tif", tmp_path)
    assert job.to_dict()["display"] == data["display"]


def test_settings_for_other_channels_are_told(dock, window, tmp_path):
    opened(window, DATA / "lzw.tif")
    data = json.loads(dock.job().to_json()) | {"display": {"limits": [], "channels": [4]}}
    (tmp_path / "job.json").write_text(json.dumps(data))
    dock.files.load(tmp_path / "job.json")
    assert "The image has no channels 4" in dock.exporter.receipt.text()
    window.layers.clear()
    dock.files.load(tmp_path / "job.json")
    assert "no image is open to show it on" in dock.exporter.receipt.text()


def test_changed_values_are_what_the_layer_shows(dock, window, tmp_path):
    path, _ = tiff(tmp_path, RGB[..., 0], None, photometric="miniswhite")
    layer = opened(window, path)
    inverted, _ = labelled(dock)
    np.testing.assert_array_equal(inverted, ids_of(np.dstack([255 - RGB[..., 0]] * 3)))
    layer.data = layer.data // 2
    changed, _ = labelled(dock)
    np.testing.assert_array_equal(changed, ids_of(np.dstack([RGB[..., 0] // 2] * 3)))


@pytest.mark.parametrize("dtype", ["u1", "u2", "i2", "i4", "f4", "f8", "?"])
def test_arrays_that_no_file_brought(dtype, dock, window, tmp_path):
    """A layer of the same values as a plain file gives the labels of the file."""
    rng = np.random.default_rng(5)
    for shape in [(7, 31), (41, 5), (3, 19, 23)]:
        data = (rng.normal(size=shape) * 40 + 90).astype(dtype)
        folder = tmp_path / "x".join(map(str, shape))
        folder.mkdir()
        path, _ = tiff(folder, data, None, photometric="minisblack")
        window.add_image(data)
        agree(dock, path, folder)
        window.layers.clear()


def test_colours_beyond_bytes_and_channels_first(dock, window, tmp_path):
    path, _ = tiff(tmp_path, DEEP, None, photometric="rgb")
    window.add_image(DEEP, rgb=True)
    agree(dock, path, tmp_path / "deep")
    window.layers.clear()
    first = np.moveaxis(np.dstack([DEEP, DEEP[..., :1] // 3]), -1, 0)
    (tmp_path / "c").mkdir()
    path, _ = tiff(tmp_path / "c", first, None, "a.ome.tif", metadata={"axes": "CYX"})
    window.add_image(first)
    dock.place.axis.choose(0)
    agree(dock, path, tmp_path / "c")


def test_a_lazy_layer_is_automatic_until_it_is_moved(dock, window, tmp_path):
    import dask.array as da

    path, _ = tiff(tmp_path, np.stack([FLOAT, FLOAT * 3]), None, photometric="minisblack")
    layer = window.add_image(da.from_array(tifffile.imread(path), chunks=(1, -1, -1)))
    _, job = agree(dock, path, tmp_path / "still")
    assert job.display.limits == ()
    layer.contrast_limits = (-1, 2)
    _, job = agree(dock, path, tmp_path / "moved")
    assert job.display.limits == ((-1.0, 2.0),)
    dock.place.values.back.click()
    assert dock.job().display.limits == ()


def test_a_page_that_napari_does_not_show_is_told(dock, window):
    opened(window, DATA / "pages_unequal.tif")
    wait(lambda: not dock.place.turned.isHidden())
    assert "more images than napari shows" in dock.place.turned.text()


@pytest.mark.parametrize("form", ["png", "tiff"])
def test_the_files_pixel_size_goes_into_the_export(form, dock, window, tmp_path):
    opened(window, DATA / "pixel_size.ome.tif")
    labelled(dock)
    dock.exporter.format.choose(form)
    dock.exporter.folder.setText(str(tmp_path / "out"))
    dock.exporter.button.click()
    wait(lambda: "read back" in dock.exporter.receipt.text())
    (path,) = (tmp_path / "out").glob(f"*{FORMATS[form].suffix}")
    (image,) = FORMATS[form].read(path, None)
    assert (image.scale, image.unit) == (pytest.approx((0.5, 0.25)), "um")


def test_every_layer_is_an_image(dock, window):
    layer = opened(window, DATA / "grey_alpha.tif")
    assert isinstance(layer, Image)
    assert [c.currentData() for c in dock.place.channels] == [0, 0, 0]

"""The whole way once with the real worker and the demo models that ship with the package."""

import numpy as np
import psutil
import pytest

from napari_prelabel.gui.run import runner
from napari_prelabel.values.samples import sample_path

from gui_steps import open_ours, run, wait  # isort: skip


def worker_of(pool) -> psutil.Process:
    return psutil.Process(pool.worker["pid"])


@pytest.mark.timeout(280)
def test_words_run_paint_run_undo_kill_export(real_dock, viewer, tmp_path):
    dock, pool = real_dock, runner.shared_pool()
    dock.bar.run_button.click()
    wait(lambda: not dock.session.running, 200)
    assert dock.bar.stage.text() == "Done.", dock.bar.notices.texts
    layer = viewer.layers["scene-18 [prelabel]"]
    truth = _truth()
    assert (layer.data == truth).mean() > 0.5
    first = layer.data.copy()

    layer.brush_size = 15
    layer.paint((20, 20), 5)
    drawn = layer.data.copy()
    painted = drawn != first
    dock.words.set_text("sky\nsea\ngrass")
    run(dock)
    assert (layer.data[painted] == 3).all()  # "grass" had the id 5
    dock.results.undo_button.click()
    np.testing.assert_array_equal(layer.data, drawn)

    dock.run()
    wait(lambda: pool.ready)
    worker_of(pool).kill()
    wait(lambda: not dock.session.running)
    assert "worker process stopped" in dock.bar.notices.texts[0]
    np.testing.assert_array_equal(layer.data, drawn)
    dock.bar.run_button.click()
    wait(lambda: not dock.session.running, 200)
    assert dock.bar.stage.text() == "Done."

    dock.exporter.folder.setText(str(tmp_path))
    wait(lambda: dock.exporter.format.count() > 0)
    dock.exporter.button.click()
    wait(lambda: dock.exporter.button.isEnabled())
    again = open_ours(viewer, tmp_path / "scene-18.png")
    np.testing.assert_array_equal(again.data, layer.data)


def _truth():
    from PIL import Image

    with Image.open(sample_path("scenes", "masks", "scene-18.png")) as picture:
        return np.asarray(picture)

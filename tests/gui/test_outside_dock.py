"""A method of another package in the dock: chosen, its box asked, run by the worker it has."""

import numpy as np
import pytest
from outside import installed, on_path, pretended

from napari_prelabel.gui.prelabel.dock import PrelabelDock
from napari_prelabel.gui.prelabel.method_box import MethodBox
from napari_prelabel.gui.run import runner
from napari_prelabel.values import methods

from gui_steps import run, wait  # isort: skip


@pytest.fixture
def found(tmp_path, monkeypatch):
    """Puts a folder on the path of this process and of workers, and takes in what is there."""

    def look(folder):
        monkeypatch.syspath_prepend(str(folder))
        monkeypatch.setenv("PYTHONPATH", on_path(folder)["PYTHONPATH"])
        methods._found.cache_clear()

    yield look
    monkeypatch.undo()
    methods._found.cache_clear()


@pytest.mark.timeout(280)
def test_it_is_chosen_asked_for_and_run(viewer, found, tmp_path, monkeypatch):
    found(installed(tmp_path))
    monkeypatch.setattr(runner, "_pool", None)
    pixels = np.zeros((40, 60, 3), np.uint8)
    pixels[:, :30, 0], pixels[:, 30:, 2] = 255, 255
    viewer.add_image(pixels, name="two", rgb=True)
    dock = PrelabelDock(viewer)
    viewer.window.add_dock_widget(dock, area="right")
    try:
        dock.words.set_text("red\nblue")
        assert dock.method.method.choose("colours")
        assert dock.method.method.currentText() == "Nearest colour"
        assert not dock.method.base.parentWidget().isVisible()
        box = dock.method._fields["colours", "softness"]
        assert (box.native.minimum(), box.native.maximum()) == (1, 500)
        box.value = 20.0
        job = dock.job()
        assert job.settings.softness == 20
        run(dock)
        wait(lambda: not dock.session.running, 200)
        assert dock.bar.stage.text() == "Done.", dock.bar.notices.texts
        expected = np.where(np.arange(60) < 30, 1, 2)
        assert (viewer.layers["two [prelabel]"].data == expected).all()
        box.value = 80.0
        dock.show_job(job)
        assert box.value == 20
    finally:
        runner.close_shared_pool()


def test_one_that_is_left_out_is_told(qtbot, found, tmp_path):
    pretended(tmp_path, "fast", "broken:ROW", "import nowhere_to_be_found")
    found(tmp_path)
    box = MethodBox()
    qtbot.addWidget(box)
    assert "'fast' of broken 1.0 is left out" in box.left_out.text()
    assert not box.left_out.isHidden()

"""A real napari window, a real worker process with an engine that needs no models."""

import gc
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import napari
import numpy as np
import pytest
from napari import settings
from qtpy.QtCore import QEvent
from qtpy.QtWidgets import QApplication

from napari_prelabel.annotation import kept
from napari_prelabel.gui import remember
from napari_prelabel.gui.prelabel.dock import PrelabelDock
from napari_prelabel.gui.run import runner
from napari_prelabel.gui.run.runner import Runner
from napari_prelabel.worker.pool import Pool

from gui_steps import MODELS, WORDS, run  # isort: skip

HERE = Path(__file__).parent


@pytest.fixture(scope="session", autouse=True)
def _display() -> None:
    if sys.platform == "linux" and not os.environ.get("DISPLAY", os.environ.get("WAYLAND_DISPLAY")):
        pytest.exit("The tests of the window need a display: run `make test`.", returncode=1)


@pytest.fixture(scope="session")
def pool() -> Iterator[Pool]:
    """A worker that runs fake_engine.FakeEngine."""
    before = os.environ.get("PYTHONPATH", "")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(HERE), before]))
    os.environ["PRELABEL_FAKE_SECONDS"] = "0.2"
    with Pool(engine="fake_engine:FakeEngine") as made:
        made.start()
        yield made
    os.environ["PYTHONPATH"] = before


@pytest.fixture(autouse=True)
def _apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pool: Pool) -> None:
    """No test reads or writes the person's settings, or starts the worker with the models."""
    monkeypatch.setattr(runner, "_pool", pool)
    monkeypatch.setattr(remember, "_path", lambda: tmp_path / "config" / "dock.json")
    monkeypatch.setattr(kept, "folder", lambda: tmp_path / "kept")
    monkeypatch.setattr(settings, "_CFG_PATH", str(tmp_path / "config" / "settings.yaml"))
    settings._clear_plugin_settings_cache()


@pytest.fixture(scope="session")
def window(qapp: QApplication) -> Iterator[napari.Viewer]:
    """One napari window for all tests; opening one takes over a second."""
    made = napari.Viewer()
    made.window.resize(1200, 800)
    yield made
    made.close()


@pytest.fixture
def viewer(window: napari.Viewer, qapp: QApplication) -> Iterator[napari.Viewer]:
    """The window, empty before and after."""
    yield window
    for dock in list(window.window.dock_widgets.values()):
        window.window.remove_dock_widget(dock)
    window.layers.clear()
    window.theme = "dark"
    qapp.sendPostedEvents(None, QEvent.Type.DeferredDelete)
    qapp.processEvents()


@pytest.fixture
def dock(viewer: napari.Viewer, pool: Pool) -> PrelabelDock:
    """The dock in its window, with the fake engine behind it."""
    made = PrelabelDock(viewer, Runner(lambda: pool))
    viewer.window.add_dock_widget(made, name="Pre-label", area="right")
    made.models.apply(MODELS)
    return made


@pytest.fixture
def image(viewer: napari.Viewer):
    """A grey ramp of 60 x 80 pixels, dark to bright from left to right, as RGB."""
    ramp = np.repeat(np.linspace(0, 255, 80, dtype=np.uint8)[None], 60, 0)
    return viewer.add_image(np.dstack([ramp] * 3), name="ramp", rgb=True)


@pytest.fixture
def done(dock: PrelabelDock, image) -> PrelabelDock:
    """The dock after a first run with two words."""
    dock.words.set_text(WORDS)
    run(dock)
    return dock


@pytest.fixture
def real_dock(viewer, monkeypatch):
    """The dock with a sample scene and the worker that people have, models and all."""
    monkeypatch.setattr(runner, "_pool", None)
    viewer.open_sample("napari-prelabel", "scene-1")
    made = PrelabelDock(viewer)
    viewer.window.add_dock_widget(made, area="right")
    yield made
    runner.close_shared_pool()
    gc.collect()

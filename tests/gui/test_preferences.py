"""Our page of napari's Preferences: what is chosen there is what the worker and the docks do."""

import json
from functools import partial

import pytest
from napari import settings
from napari.settings import get_plugin_settings

from napari_prelabel.gui import preferences
from napari_prelabel.gui.models import recent_sets
from napari_prelabel.gui.preferences import Preferences
from napari_prelabel.gui.prelabel.dock import PrelabelDock
from napari_prelabel.gui.reference.dock import ReferenceDock
from napari_prelabel.gui.run import runner, worker_line
from napari_prelabel.models import catalog, places
from napari_prelabel.values.errors import ModelError
from napari_prelabel.worker.pool import Pool

from gui_steps import WORDS, wait  # isort: skip


@pytest.fixture
def page(monkeypatch):
    """The settings object that napari's page changes."""
    monkeypatch.delenv(places.HOME_VARIABLE, raising=False)
    yield get_plugin_settings("napari-prelabel")
    places.keep_models(None)


@pytest.fixture
def real(page, viewer, tmp_path, monkeypatch):
    """Opens the dock with a real worker; what each of its engines was made with is in a list."""
    file = tmp_path / "told"
    monkeypatch.setenv("PRELABEL_TOLD", str(file))
    monkeypatch.setattr(runner, "_pool", None)
    monkeypatch.setattr(runner, "Pool", partial(Pool, engine="told_engine:ToldEngine"))

    def told():
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    def opened():
        made = PrelabelDock(viewer)
        viewer.window.add_dock_widget(made, area="right")
        viewer.open_sample("napari-prelabel", "scene-1")
        made.method.method.choose("base")
        return made

    yield opened, told
    runner.close_shared_pool()


def test_the_page_says_what_there_is(page):
    assert preferences.preferences() == Preferences()
    assert page.config_path.name == "napari-prelabel.yaml"
    for section in (page.worker, page.folders):
        for name, field in type(section).model_fields.items():
            assert field.title, name
            assert field.description, name
    with pytest.raises(ValueError, match="not one of"):
        page.worker.device = "gpu"
    with pytest.raises(ValueError, match="greater than"):
        page.worker.cache = -1


def test_what_is_chosen_is_kept_beside_naparis_settings(page):
    page.worker.device, page.worker.cache = "cpu", 64
    page.folders.models = "~/models of mine"
    kept = page.config_path.read_text()
    assert "device: cpu" in kept
    chosen = preferences.preferences()
    assert (chosen.device, chosen.cache) == ("cpu", 64 << 20)
    assert chosen.models.name == "models of mine"
    assert chosen.models.is_absolute()
    assert "~" not in str(chosen.models)


@pytest.mark.timeout(280)
def test_the_worker_is_what_the_page_says(real, page, tmp_path):
    opened, told = real
    page.worker.device, page.worker.cache = "cuda:7", 64
    page.worker.start = "at the first run"
    page.folders.models = str(tmp_path / "models")
    dock = opened()
    dock.worker.warm_up()
    assert runner._pool is None or not runner._pool.worker

    dock.bar.run_button.click()
    wait(lambda: not dock.session.running, 100)
    assert "no device 'cuda:7'" in dock.bar.notices.texts[0]
    assert "Preferences" in dock.bar.notices.texts[0]
    first = told()[0]
    assert first | {"pid": 0} == {
        "device": "cuda:7", "cache": 64 << 20, "models": str(tmp_path / "models"), "pid": 0,
    }  # fmt: skip

    page.worker.device = "cpu"
    preferences.changes().tell()
    assert dock.bar.notices.texts == [worker_line.SOON]
    wait(lambda: told()[-1]["device"] == "cpu", 100)
    assert told()[-1]["pid"] != first["pid"]
    dock.bar.run_button.click()
    wait(lambda: not dock.session.running, 200)
    assert dock.bar.stage.text() == "Done.", dock.bar.notices.texts


@pytest.mark.timeout(280)
def test_a_run_is_not_ended_by_a_changed_page(real, page):
    opened, told = real
    page.worker.device = "cpu"
    dock = opened()
    dock.worker.warm_up()
    wait(lambda: runner.shared_pool().ready, 100)
    dock.bar.run_button.click()
    page.worker.cache = 128
    preferences.changes().tell()
    assert dock.bar.notices.texts == [worker_line.LATER]
    wait(lambda: not dock.session.running, 200)
    assert dock.bar.stage.text() == "Done."
    wait(lambda: told()[-1].get("cache") == 128 << 20, 100)
    dock.bar.run_button.click()
    wait(lambda: not dock.session.running, 200)
    assert dock.bar.stage.text() == "Done.", dock.bar.notices.texts


def test_a_changed_page_starts_no_worker(real, page):
    opened, told = real
    page.worker.start = "at the first run"
    opened()
    page.worker.device = "cpu"
    preferences.changes().tell()
    assert not told()


def test_folders_are_offered_and_those_a_person_chose_stay(page, dock, viewer, tmp_path):
    reference = ReferenceDock(viewer)
    viewer.window.add_dock_widget(reference, area="right")
    page.folders.exports = str(tmp_path / "labels")
    page.folders.reference_sets = str(tmp_path / "sets")
    preferences.changes().tell()
    dock.exporter.suggest(str(tmp_path / "image.png"))
    assert dock.exporter.folder.text() == str(tmp_path / "labels")
    assert reference.new.parent_folder.text() == str(tmp_path / "sets")
    assert recent_sets.home() == tmp_path / "sets"
    dock.exporter.folder.setText("chosen")
    reference.new.parent_folder.setText("chosen, too")
    page.folders.exports = page.folders.reference_sets = ""
    preferences.changes().tell()
    assert dock.exporter.folder.text() == "chosen"
    assert reference.new.parent_folder.text() == "chosen, too"
    dock.exporter.folder.clear()
    dock.exporter.suggest(str(tmp_path / "image.png"))
    assert dock.exporter.folder.text() == str(tmp_path / "prelabel")


def test_models_are_looked_for_in_the_folder_of_the_page(page, dock, image, tmp_path, monkeypatch):
    dock.models.apply("vitb16")
    dock.words.set_text(WORDS)
    page.folders.models = str(tmp_path)
    preferences.changes().tell()
    assert not dock.models.installed
    assert catalog.model_dir("openai-vitb16").parent == tmp_path
    with pytest.raises(ModelError, match="Get these models"):
        dock.models.check(dock.job())
    monkeypatch.setenv(places.HOME_VARIABLE, str(tmp_path / "shared"))
    assert places.models_home() == tmp_path / "shared"
    assert not preferences.preferences().setup.environment


def test_a_broken_file_leaves_the_defaults(page):
    page.worker.device = "cpu"
    page.config_path.write_text("worker: {device: 5, cache: lots}\nfolders: [1]\n")
    settings._clear_plugin_settings_cache()
    assert preferences.preferences() == Preferences()


def test_a_worker_at_an_address_needs_no_models_here(page, dock, image, tmp_path, monkeypatch):
    monkeypatch.setattr(runner, "_pool", None)
    dock.models.apply("vitb16")
    dock.words.set_text(WORDS)
    page.folders.models = str(tmp_path)
    page.worker.address, page.worker.tls = " tls://localhost:1 ", str(tmp_path)
    preferences.changes().tell()
    assert preferences.changes().away
    dock.models.check(dock.job())
    pool = runner.shared_pool()
    assert pool.address == "tls://localhost:1"
    page.worker.address = ""
    assert not runner.renew_shared_pool()
    assert pool.address == ""
    preferences.changes().tell()
    with pytest.raises(ModelError, match="Get these models"):
        dock.models.check(dock.job())
    runner.close_shared_pool()

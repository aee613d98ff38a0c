"""Fetching models from the dock: asked first, counted in bytes, stopped, gone on with, refused."""

import threading

import pytest
from qtpy.QtWidgets import QMessageBox

from napari_prelabel.models import catalog
from napari_prelabel.models import fetch as fetch_module
from napari_prelabel.values.errors import Cancelled, ChecksumMismatch

from gui_steps import wait  # isort: skip

NAME = "openai-vitb16"


@pytest.fixture
def box(dock, monkeypatch, tmp_path):
    monkeypatch.setenv("PRELABEL_MODELS", str(tmp_path))
    dock.models.apply("vitb16")
    return dock.models


def test_nothing_is_fetched_before_a_yes(box, monkeypatch):
    asked = []

    def no(parent, title, text):
        asked.append(text)
        return QMessageBox.StandardButton.No

    monkeypatch.setattr(QMessageBox, "question", no)
    monkeypatch.setattr(fetch_module, "fetch", lambda *_, **__: pytest.fail("it was fetched"))
    box.fetcher.get.click()
    (text,) = asked
    place = str(catalog.model_dir(NAME))
    for fact in ("timm/vit_base_patch16_clip_224.openai", "598.6 MB", "MIT", place):
        assert fact in text


def test_bytes_move_the_bar_and_stop_stops(box, dock, monkeypatch):
    going = threading.Event()

    def fetch(name, on_bytes, cancelled):
        on_bytes(250, 1000)
        while not cancelled():
            going.wait(0.01)
        raise Cancelled

    monkeypatch.setattr(QMessageBox, "question", lambda *_: QMessageBox.StandardButton.Yes)
    monkeypatch.setattr(fetch_module, "fetch", fetch)
    box.fetcher.get.click()
    wait(lambda: box.fetcher.bar.value() == 250)
    assert box.fetcher.bytes.text() == "0.0 MB of 0.0 MB"
    assert box.fetcher.get.isHidden()
    assert not box.models.isEnabled()
    box.fetcher.stop.click()
    wait(lambda: not box.fetcher.get.isHidden())
    assert "go on" in dock.bar.notices.texts[0]


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (ChecksumMismatch(NAME, fetch_module.Path("w.bin"), "a" * 64, "b" * 64), "damaged"),
        (OSError("disk full"), "could not be fetched: disk full"),
    ],
)
def test_a_failed_fetch_is_a_sentence(box, dock, monkeypatch, error, sentence):
    def fetch(*_, **__):
        raise error

    monkeypatch.setattr(fetch_module, "fetch", fetch)
    box.fetcher.fetch(NAME)
    wait(lambda: bool(dock.bar.notices.texts))
    assert sentence in dock.bar.notices.texts[0]


def test_models_that_came_can_be_used_at_once(box, monkeypatch, tmp_path):
    def fetch(name, on_bytes, cancelled):
        on_bytes(5, 0)
        (tmp_path / name).mkdir()
        (tmp_path / name / "open_clip_model.safetensors").write_bytes(b"x")

    monkeypatch.setattr(fetch_module, "fetch", fetch)
    box.fetcher.fetch(NAME)
    wait(lambda: box.installed and box.fetcher._download is None)
    assert "Installed" in box.facts.text()
    assert box.fetcher.get.isHidden()

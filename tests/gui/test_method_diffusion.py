"""The diffusion model beside the models: what is said when it is not here or there is none."""

from dataclasses import replace

import numpy as np
import pytest
from napari.layers import Labels

from napari_prelabel.gui.layers.result import ResultLayer
from napari_prelabel.gui.models.method_diffusion import GET, DiffusionRow, check_diffusion
from napari_prelabel.gui.models.models_box import ModelsBox
from napari_prelabel.gui.scribble.target import source_of
from napari_prelabel.models import catalog
from napari_prelabel.models.catalog import BUNDLES
from napari_prelabel.values.errors import ImageError, JobError, ModelError
from napari_prelabel.values.job import FreeCP, Job
from napari_prelabel.values.vocabulary import Vocabulary

from gui_steps import labels  # isort: skip

WORDS = Vocabulary.parse("cell")
NEEDS = {
    "nerve": Job(WORDS, method="nerve"),
    "freecp": Job(WORDS, method="freecp", freecp=FreeCP(source="diffusion")),
}


@pytest.fixture
def missing(monkeypatch, tmp_path):
    """No diffusion model is on this machine."""
    here = catalog.installed
    diffusion = {bundle.diffusion for bundle in BUNDLES.values()}
    monkeypatch.setattr(catalog, "installed", lambda name: name not in diffusion and here(name))


@pytest.fixture
def box(qtbot):
    made = ModelsBox()
    qtbot.addWidget(made)
    return made


@pytest.fixture
def row(qtbot):
    made = DiffusionRow()
    qtbot.addWidget(made)
    return made


def test_models_without_a_diffusion_model_name_some_that_have_one():
    assert not BUNDLES["rn50x16"].diffusion
    with pytest.raises(JobError, match=r"RN50x16 .* no diffusion model.*choose Demo"):
        check_diffusion(BUNDLES["rn50x16"])


def test_a_diffusion_model_that_is_not_here_names_the_button(missing):
    with pytest.raises(ModelError, match=r"Demo .*press “Get the diffusion model…”"):
        check_diffusion(BUNDLES["demo"])


def test_the_demo_has_its_diffusion_model():
    check_diffusion(BUNDLES["demo"])


@pytest.mark.parametrize("job", NEEDS.values(), ids=NEEDS)
def test_a_run_that_needs_the_diffusion_model_is_refused_without_it(box, job, missing):
    with pytest.raises(ModelError, match=r"diffusion model of Demo .* is not on this machine"):
        box.check(job)


@pytest.mark.parametrize("job", NEEDS.values(), ids=NEEDS)
def test_a_run_that_needs_it_starts_with_it(box, job):
    box.check(job)


def test_a_run_that_needs_none_starts_without_it(box, missing):
    box.check(Job(WORDS, method="base"))
    box.check(Job(WORDS, method="freecp"))


def test_freecp_from_diffusion_needs_models_that_have_one(box, monkeypatch):
    monkeypatch.setitem(BUNDLES, "demo", replace(BUNDLES["demo"], diffusion=""))
    with pytest.raises(JobError, match="has no diffusion model"):
        box.check(NEEDS["freecp"])


def test_the_row_shows_for_models_with_a_diffusion_model_alone(row):
    row.show_bundle(BUNDLES["demo"])
    assert not row.isHidden()
    assert "installed" in row.facts.text()
    assert "BSD-3-Clause" in row.facts.text()
    assert row.fetcher.get.isHidden()
    row.show_bundle(BUNDLES["rn50x16"])
    assert row.isHidden()


def test_the_row_offers_to_fetch_what_has_a_size(row, missing):
    row.show_bundle(BUNDLES["vitb16"])
    assert "to fetch" in row.facts.text()
    assert "Open RAIL++-M" in row.facts.text()
    assert not row.fetcher.get.isHidden()
    assert row.fetcher.get.text() == GET


def test_the_row_tells_how_to_get_back_what_ships_with_the_package(row, missing):
    row.show_bundle(BUNDLES["demo"])
    assert "install napari-prelabel again" in row.facts.text()
    assert row.fetcher.get.isHidden()


def test_after_a_download_the_row_looks_again(row, missing, monkeypatch, qtbot):
    row.show_bundle(BUNDLES["vitb16"])
    monkeypatch.setattr(catalog, "installed", lambda _: True)
    with qtbot.waitSignal(row.ended, timeout=1000):
        row.fetcher.ended.emit()
    assert "installed" in row.facts.text()
    assert row.fetcher.get.isHidden()


# Labels that the scribble tool cannot read an image for


def test_labels_whose_image_is_gone_say_to_open_it(done, viewer, image):
    result = ResultLayer.of(labels(viewer))
    assert source_of(result, done.place).layer is image
    elsewhere = ResultLayer(Labels(np.zeros((60, 80), np.uint16)), WORDS)
    with pytest.raises(ImageError, match="is closed: open it again"):
        source_of(elsewhere, done.place)


def test_labels_of_an_image_that_was_cut_since_say_to_run_again(done, viewer, image):
    result = ResultLayer.of(labels(viewer))
    image.data = np.zeros((30, 40, 3), np.uint8)
    result.source = None
    with pytest.raises(ImageError, match="another size than these labels: run once more"):
        source_of(result, done.place)

"""What every test shares: none finds the models that this machine's person has fetched."""

import pytest


@pytest.fixture(autouse=True)
def _no_models_of_the_persons_own(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path_factory.getbasetemp() / "no-hub-cache"))

"""What every test shares: none finds the models that this machine's person has fetched."""

import contextlib
import importlib

import pytest

# Mesa's software GL and torch's compiler bring an LLVM each, and the compiler's ends the process
# when it is loaded after a window was drawn: whichever tests run first, it is here before them.
with contextlib.suppress(ImportError):
    importlib.import_module("triton")


@pytest.fixture(autouse=True)
def _no_models_of_the_persons_own(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path_factory.getbasetemp() / "no-hub-cache"))

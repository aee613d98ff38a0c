"""The speed benchmark of retrieval, on a set that fits the eye."""

import json

import numpy as np
import pytest

from benchmarks import reference_speed
from benchmarks.reference_speed import Size, measure
from napari_prelabel.methods import reme
from napari_prelabel.values.errors import JobError

SMALL = Size(segments=700, width=16, labels=9, classes=4, queries=5)


def test_every_figure_is_there(monkeypatch):
    monkeypatch.setattr(reference_speed, "_CHUNK", 256)
    figures = measure(SMALL, top_k=3, repeats=2)
    assert json.loads(json.dumps(figures)) == figures
    assert figures["segments"] == 700
    assert figures["embeddings_mb"] == round(700 * 16 * 2 / 1e6, 1)
    for name in ("answers", "retrieve", "retrieve_top_k", "faiss", "ratio"):
        assert figures[name] > 0
    assert figures["ratio_new_words"] >= figures["ratio"]
    assert {"faiss", "ratio"}.isdisjoint(measure(SMALL, repeats=1, faiss_too=False))


def test_memory_of_the_retrieval_is_counted(monkeypatch):
    def retrieve(queries, *_, **__):
        # Large beside what other tests may leave to be freed in the meantime.
        block = np.ones(600_000_000, np.uint8)
        return block[: len(queries)]

    monkeypatch.setattr(reme, "retrieve", retrieve)
    assert 400 < measure(SMALL, repeats=1, faiss_too=False)["peak_mb"] < 660


def test_memory_without_the_systems_table(monkeypatch, tmp_path):
    monkeypatch.setattr(reference_speed, "_STATUS", tmp_path / "none")
    assert reference_speed._own_bytes() > 1e6


def test_sizes_are_at_least_one():
    with pytest.raises(JobError, match="queries must be 1 or more"):
        Size(queries=0)

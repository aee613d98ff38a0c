import json
from dataclasses import replace

import numpy as np
import open_clip
import pytest
import torch

from benchmarks import tune
from napari_prelabel.engine.cache import Encodings
from napari_prelabel.engine.engine import Engine
from napari_prelabel.engine.samples import DataSet, Sample
from napari_prelabel.models.clip import Clip
from napari_prelabel.values.job import FreeCP, Job, Windows
from napari_prelabel.values.metrics import confusion
from napari_prelabel.values.steps import finish
from napari_prelabel.values.vocabulary import Vocabulary

CONFIG = {
    "embed_dim": 8,
    "vision_cfg": {"image_size": 16, "layers": 3, "width": 16, "head_width": 8, "patch_size": 4},
    "text_cfg": {"context_length": 8, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
}
GRID = tune.Grid((Windows(32, 16, 8), Windows(0, 32, 16)), ("sclip", "gem"), (0.0, 0.05), (0.6,))


@pytest.fixture(scope="module")
def clip():
    torch.manual_seed(0)
    return Clip("small", open_clip.CLIP(**CONFIG), "digest")


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    samples = []
    for n in range(2):
        image = np.kron(rng.integers(0, 256, (4, 5, 3)), np.ones((9, 9, 1))).astype(np.uint8)
        samples.append(Sample(f"s{n}", image, rng.integers(1, 3, (36, 45)).astype(np.uint16)))
    words = Vocabulary.parse("sky\nroad\ncar\npiano").with_descriptions({"sky": ["blue above"]})
    return DataSet("drawn", "val", words, (1,), (2,), 2, tuple(samples))


@pytest.fixture(scope="module")
def tuner(clip, data):
    found = tune.Tuner(clip, data, GRID)
    for sample in data.samples:
        found.add(sample)
    return found


def test_the_grid_has_every_setting(tuner):
    assert len(GRID.steps()) == 1 + 2 * (1 + 1)
    assert len(tuner.found) == 2 * 2 * (1 + 5)
    assert all(matrix.sum() == 2 * 36 * 45 for matrix in tuner.found.values())


def test_every_setting_is_what_the_engine_gives(tuner, clip, data):
    engine = Engine("cpu", words=Encodings(), load=lambda *_: clip)
    asked = 0
    for (base, windows, steps), matrix in tuner.found.items():
        total = 0
        for sample in data.samples:
            job = Job(
                data.vocabulary,
                "base" if steps is None else "freecp",
                base,
                windows=windows,
                freecp=steps or FreeCP(),
            )
            labels = finish(engine.run(job, sample.image))
            total = total + confusion(sample.truth, labels.ids, 4)
            asked += any(s.name == "crops" for s in engine.timings)
        assert np.array_equal(matrix, total)
    assert asked


def test_rows_and_the_best(tuner):
    rows = tuner.rows()
    alone = {(r["base"], *r["windows"]): r["miou"] for r in rows if r["method"] == "base"}
    for row in rows:
        gain = row["miou"] - alone[row["base"], *row["windows"]]
        assert row["gain"] == pytest.approx(gain, abs=0.02)
        assert (row["ap"] is None) or row["rp"] is not None
        assert (row["ap"] is None) == (row["ap_gain"] is None)
    purified = {(r["base"], *r["windows"], r["rp"]): r["miou"] for r in rows if r["ap"] is None}
    both = [r for r in rows if r["ap"] is not None]
    for row in both:
        gain = row["miou"] - purified[row["base"], *row["windows"], row["rp"]]
        assert row["ap_gain"] == pytest.approx(gain, abs=0.02)
    for setting in tune.best(rows, 99):
        same = [r["ap_gain"] for r in both if r["ap"] == setting["ap"] is not None
                and (r["windows"], r["rp"]) == (setting["windows"], setting["rp"])]  # fmt: skip
        assert setting["ap_gain"] == (min(same) if same else None)
    best = tune.best(rows, 3)
    chosen = [best[0][n] for n in ("method", "windows", "rp", "ap")]
    same = [r["miou"] for r in rows if [r[n] for n in ("method", "windows", "rp", "ap")] == chosen]
    assert len(same) == 2
    assert best[0]["miou"] == pytest.approx(np.mean(same), abs=0.01)
    assert [r["miou"] for r in best] == sorted((r["miou"] for r in best), reverse=True)
    assert len(best) == 3


def test_the_command_prints_and_writes(clip, data, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(tune, "load_synthetic", lambda *_: data)
    monkeypatch.setattr(tune, "load_clip", lambda *_: clip)
    monkeypatch.setattr(tune, "WINDOWS", GRID.windows)
    tune.main(bases="sclip", json_file=tmp_path / "tune.json", device="cpu")
    assert "Best over all bases" in capsys.readouterr().out
    figures = json.loads((tmp_path / "tune.json").read_text(encoding="utf-8"))
    assert {r["base"] for r in figures["rows"]} == {"sclip"}
    assert len({tuple(r["windows"]) for r in figures["rows"]}) == 2


def test_the_bundles_own_windows_alone_are_tried_when_asked(clip, data, tmp_path, monkeypatch):
    monkeypatch.setattr(tune, "load_synthetic", lambda *_: replace(data, samples=data.samples[:1]))
    monkeypatch.setattr(tune, "load_clip", lambda *_: clip)
    monkeypatch.setattr(tune, "AP", (0.6,))
    file = tmp_path / "tune.json"
    tune.main(bases="sclip", windows=False, json_file=file, device="cpu")
    rows = json.loads(file.read_text(encoding="utf-8"))["rows"]
    own = tune.bundle_of("demo").windows
    assert {tuple(r["windows"]) for r in rows} == {(own.short_side, own.crop, own.stride)}

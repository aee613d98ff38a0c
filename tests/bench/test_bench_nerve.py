"""The sweep and the ablation of NERVE give what the engine gives."""

import hashlib
import json
from dataclasses import replace

import numpy as np
import open_clip
import pytest
import torch
from typer.testing import CliRunner

from benchmarks import nerve
from napari_prelabel.engine import reading
from napari_prelabel.engine.cache import Encodings
from napari_prelabel.engine.engine import Engine
from napari_prelabel.engine.samples import DataSet, Sample
from napari_prelabel.models import diffusion
from napari_prelabel.models.catalog import bundle_of
from napari_prelabel.models.clip import Clip
from napari_prelabel.models.denoising import HeadMaps
from napari_prelabel.values.job import Job, Nerve, Windows
from napari_prelabel.values.metrics import confusion
from napari_prelabel.values.vocabulary import Vocabulary

CONFIG = {
    "embed_dim": 8,
    "vision_cfg": {"image_size": 16, "layers": 3, "width": 16, "head_width": 8, "patch_size": 4},
    "text_cfg": {"context_length": 8, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
}
BUNDLE = replace(
    bundle_of("demo"),
    diffusion="painted",
    windows=Windows(32, 16, 8),
    base="sclip",
)


class Painted:
    digest = hashlib.sha256(b"painted").hexdigest()

    def attention(self, image, *, timestep=None):
        assert timestep is None
        planes = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float()
        rows = torch.nn.functional.adaptive_avg_pool2d(planes, (4, 5))[0].flatten(1).T[None] / 40
        return HeadMaps((rows,), (rows,), ((4, 5),), (1.0,))


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
    return DataSet(
        "drawn", "val", Vocabulary.parse("sky\nroad\ncar"), (1,), (2,), 1, tuple(samples)
    )


@pytest.fixture
def small(monkeypatch, clip, data):
    for module in (reading, nerve):
        monkeypatch.setattr(module, "bundle_of", lambda _: BUNDLE)
    monkeypatch.setattr(diffusion, "load_diffusion", lambda *_: Painted())
    monkeypatch.setattr(nerve, "load_diffusion", lambda *_: Painted())
    monkeypatch.setattr(nerve, "load_clip", lambda *_: clip)
    monkeypatch.setattr(nerve, "load_synthetic", lambda *_: data)


def test_the_sweep_has_every_setting_once():
    settings = nerve.sweep(Nerve())
    assert len(settings) == 5 * 5 * 4 + 6 * 3
    assert settings["alpha 0.9, beta 0.3, L 40"] == Nerve(alpha=0.9, beta=0.3, steps=40)
    assert settings["row, r 2"] == Nerve(weighting="row", radius=2)


@pytest.mark.usefixtures("small")
def test_every_setting_is_what_the_engine_gives(clip, data):
    settings = nerve.ablation(Nerve(alpha=0.9)) | {"row": Nerve(weighting="row", radius=2)}
    trial = nerve.Trial(clip, Painted(), data, "sclip", settings, isotropic=True)
    for sample in data.samples:
        trial.add(sample, "demo")
    engine = Engine("cpu", Encodings(), Encodings(), load=lambda *_: clip)
    jobs = {name: Job(data.vocabulary, "nerve", "sclip", nerve=s) for name, s in settings.items()}
    jobs[nerve.BASE_ALONE] = Job(data.vocabulary, "base", "sclip")
    for name, job in jobs.items():
        for sample, found in zip(data.samples, trial.found[name], strict=True):
            steps = engine.run(job, sample.image)
            while True:
                try:
                    next(steps)
                except StopIteration as end:
                    np.testing.assert_array_equal(found, confusion(sample.truth, end.value.ids, 3))
                    break
    rows = {row["setting"]: row for row in trial.rows()}
    assert rows["both"]["miou"] == rows["entropy weights"]["miou"]
    assert nerve.ISOTROPIC in rows
    assert rows[nerve.BASE_ALONE]["gain"] == 0


@pytest.mark.usefixtures("small")
def test_the_command_writes_its_rows(tmp_path):
    import typer

    app = typer.Typer()
    app.command()(nerve.main)
    file = tmp_path / "rows.json"
    out = CliRunner().invoke(app, ["ablation", "--json", str(file)])
    assert out.exit_code == 0, out.output
    assert len(json.loads(file.read_text())) == len(nerve.ablation(Nerve())) + 2
    assert CliRunner().invoke(app, ["guess"]).exit_code == 2

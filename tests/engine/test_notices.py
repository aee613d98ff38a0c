"""The demo models are honest about what they do not know."""

from pathlib import Path

import numpy as np
import pytest
import torch
from engine_steps import finish

from napari_prelabel.engine import notices
from napari_prelabel.engine.notices import DEMO_NOTICE, Likeness, demo_notices
from napari_prelabel.job import Job, Windows
from napari_prelabel.models.catalog import Bundle
from napari_prelabel.vocabulary import Vocabulary

KNOWN = ("tree", "lake", "traffic light")


def scenes(count, seed=0, dimensions=8):
    rng = torch.Generator().manual_seed(seed)
    spread = torch.linspace(0.1, 2, dimensions)
    return 5 + spread * torch.randn(count, dimensions, generator=rng)


@pytest.fixture
def likeness():
    return Likeness.fit("digest", scenes(500), scenes(100, 1))


@pytest.fixture
def demo(monkeypatch):
    monkeypatch.setattr(notices, "known_words", lambda clip: KNOWN if clip == "demo" else None)
    return Bundle("Demo", "demo")


def told(bundle, words, likeness, summary):
    return demo_notices(bundle, Vocabulary.parse(words), likeness, summary)


def test_distance_is_mahalanobis():
    data = scenes(4000)
    found = Likeness.fit("d", data, data[:10])
    x = torch.full((8,), 6.0)
    plain = np.cov(data.double().numpy().T, bias=True)
    plain += notices.SHRINK * np.trace(plain) / 8 * np.eye(8)
    away = x.double().numpy() - data.double().mean(0).numpy()
    assert found.distance(x) == pytest.approx(
        np.sqrt(away @ np.linalg.solve(plain, away)), rel=1e-4
    )


def test_scenes_are_like_and_others_are_not(demo, likeness):
    assert told(demo, "tree\nlake", likeness, torch.full((8,), 5.0)) == ()
    (notice,) = told(demo, "tree", likeness, torch.full((8,), 50.0))
    assert notice.startswith(DEMO_NOTICE)
    assert "unlike" in notice
    assert told(demo, "tree", None, torch.full((8,), 50.0)) == ()


def test_unknown_words_are_named(demo, likeness):
    fine = torch.full((8,), 5.0)
    (notice,) = told(demo, "Tree: Traffic  Light, oak\n- nothing, lake", likeness, fine)
    assert notice == f"{DEMO_NOTICE} Unknown words: oak, nothing."
    (many,) = told(demo, "\n".join(f"w{i}" for i in range(30)), likeness, fine)
    assert many.endswith("w7 and 22 more.")
    (both,) = told(demo, "oak", likeness, torch.full((8,), 50.0))
    assert "oak" in both
    assert "unlike" in both


@pytest.mark.usefixtures("demo")
def test_other_bundles_tell_their_own_notice(likeness):
    far = torch.full((8,), 50.0)
    assert told(Bundle("Full", "full"), "oak", likeness, far) == ()
    assert told(Bundle("Shape", "full", notice="Random."), "oak", likeness, far) == ("Random.",)


def test_the_file_beside_the_weights(likeness, monkeypatch, tmp_path):
    monkeypatch.setattr(notices, "model_dir", lambda _: tmp_path)
    assert Likeness.beside("demo-clip") is None
    likeness.save(tmp_path / notices.LIKENESS)
    found = Likeness.beside("demo-clip")
    assert (found.digest, found.limit) == ("digest", likeness.limit)
    x = torch.rand(8)
    assert found.distance(x) == pytest.approx(likeness.distance(x), rel=1e-5)
    assert Likeness.beside("openai-vitb16") is None
    Path(tmp_path / notices.LIKENESS).write_bytes(b"broken")
    assert Likeness.beside("demo-clip") is None


@pytest.mark.parametrize("digest", ["of this model", "of weights that were replaced"])
def test_a_run_asks_only_what_was_measured_with_its_own_weights(
    digest, make_engine, clip, image, monkeypatch
):
    digest = clip.digest if digest == "of this model" else digest
    narrow = Likeness(digest, torch.zeros(32), torch.eye(32), 1e-6)
    monkeypatch.setattr(Likeness, "beside", lambda _: narrow)
    monkeypatch.setattr(notices, "known_words", lambda _: ("tree",))
    wanted = Job(Vocabulary.parse("tree"), models="vitb16-shape", windows=Windows(64, 48, 16))
    result, _ = finish(make_engine().run(wanted, image))
    assert bool(result.notices) == (digest == clip.digest)

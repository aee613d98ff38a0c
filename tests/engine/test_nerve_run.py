"""NERVE through Engine.run: what is kept, what a word costs, what is refused."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest
import torch
from engine_steps import finish
from small_models import small_clip

from napari_prelabel.engine import reading
from napari_prelabel.engine.affinities import Affinities
from napari_prelabel.engine.cache import Encodings
from napari_prelabel.engine.encode import Queries
from napari_prelabel.engine.engine import Engine
from napari_prelabel.engine.labellers.nerve import evidence
from napari_prelabel.engine.timing import Stopwatch
from napari_prelabel.methods.walk import Graph
from napari_prelabel.models import diffusion
from napari_prelabel.models.catalog import bundle_of
from napari_prelabel.models.denoising import HeadMaps
from napari_prelabel.models.windows import Layout
from napari_prelabel.values.errors import Cancelled, JobError
from napari_prelabel.values.job import FreeCP, Job, Nerve, Windows
from napari_prelabel.values.vocabulary import Vocabulary

GRID = (6, 9)
WORDS = "tree\nsky\nsea: ocean"
IMAGE = np.random.default_rng(3).integers(0, 255, (50, 70, 3), np.uint8)


class Painted:
    """A diffusion model whose two heads attend by colour, one sharply and one everywhere alike."""

    digest = hashlib.sha256(b"painted").hexdigest()

    def __init__(self):
        self.passes = 0

    def attention(self, image, *, timestep=None):
        self.passes += 1
        planes = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None].float()
        small = torch.nn.functional.adaptive_avg_pool2d(planes, GRID)[0].flatten(1).T / 32
        rows = torch.stack([small * (1 + (timestep or 0)), 0 * small])
        return HeadMaps((rows,), (rows,), (GRID,), (1.0,))


@pytest.fixture
def model(monkeypatch):
    made = Painted()
    monkeypatch.setattr(diffusion, "load_diffusion", lambda *_: made)
    bundle = replace(bundle_of("demo"), diffusion="painted", windows=Windows(48, 32, 16))
    monkeypatch.setattr(reading, "bundle_of", lambda _: bundle)
    return made


def engine():
    clip = small_clip()
    return Engine("cpu", Encodings(), Encodings(), load=lambda *_: clip)


def job(words=WORDS, **changes):
    return Job(Vocabulary.parse(words), **({"method": "nerve"} | changes))


def result(runner, wanted, image=IMAGE):
    return finish(runner.run(wanted, image))[0]


def test_a_run_names_its_stages_and_gives_shares(model):
    labels, seen = finish(engine().run(job(), IMAGE))
    assert model.passes == 1
    assert labels.ids.shape == (50, 70)
    assert labels.ids.min() >= 1
    assert (labels.score <= 1).all()
    assert {"diffusion", "encode", "walk", "decide"} <= {s.stage for s in seen}
    assert labels.record["method"] == "nerve"
    assert labels.record["diffusion"] == "painted"
    assert labels.record["diffusion_digest"] == model.digest


@pytest.mark.usefixtures("model")
def test_results_of_clip_alone_name_no_diffusion_model():
    runner = engine()
    result(runner, job())
    assert "diffusion" not in result(runner, job(method="base")).record


def test_a_cancelled_run_begins_neither_the_diffusion_pass_nor_another_step(model, monkeypatch):
    runner = engine()
    result(runner, job(), IMAGE[:8, :8])  # the words are known
    with pytest.raises(Cancelled):
        finish(runner.run(job(), IMAGE, cancelled=lambda: True))
    assert model.passes == 1
    result(runner, job())
    done = []
    real = Graph.step
    monkeypatch.setattr(Graph, "step", lambda *a: done.append(1) or real(*a))
    with pytest.raises(Cancelled):
        finish(runner.run(job(), IMAGE, cancelled=lambda: len(done) >= 2))
    assert len(done) == 2


def test_words_and_walk_cost_no_new_pass_and_change_no_bit(model):
    runner = engine()
    first = result(runner, job())
    result(runner, job("tree\nsea"))
    result(runner, job(nerve=Nerve(alpha=0.5, steps=3, weighting="linear", radius=2)))
    again = result(runner, job())
    assert model.passes == 1
    np.testing.assert_array_equal(first.ids, again.ids)
    np.testing.assert_array_equal(first.score, again.score)
    result(runner, job(nerve=Nerve(timestep=5)))
    assert model.passes == 2


@pytest.mark.parametrize(
    "change",
    [
        {"weighting": "equal"},
        {"temperature": 9.0},
        {"lowest": 1},
        {"local": "rows"},
        {"radius": 2},
        {"cleanup": 0.5},
        {"cleaned": "heads"},
        {"timestep": 1},
    ],
)
def test_every_setting_of_the_graph_makes_another(change):
    near = Affinities(Painted(), Encodings(), Stopwatch(torch.device("cpu")))
    plain = Nerve(weighting="lowest", lowest=2) if "lowest" in change else Nerve()
    plain = replace(plain, cleanup=0.5) if "cleaned" in change else plain
    first, other, again = (
        near.graph(IMAGE, "image", s).transition(0.5)
        for s in (plain, replace(plain, **change), plain)
    )
    assert (first - other).abs().max() > 1e-4
    assert torch.equal(first, again)
    assert near.model.passes == 1 + ("timestep" in change)


def test_the_evidence_is_the_best_name_s_share_of_all_words():
    """Softmax over all queries, background words too: docs/methods/nerve.md#evidence."""
    cosines = torch.rand(1, 4, 4, 6, generator=torch.Generator().manual_seed(1)) / 5
    owner = torch.tensor([0, 1, 0, 2])
    queries = Queries(torch.empty(4, 1), owner, n_classes=2)
    layout = Layout((40, 60), (4, 6), (4, 6), ((0,), (0,)), 1)
    found = evidence(cosines, queries, layout, 30.0, (4, 6))
    p = (30.0 * cosines[0].double()).softmax(0).flatten(1)
    want = torch.stack([torch.maximum(p[0], p[2]), p[1]], 1)
    torch.testing.assert_close(found, want.float())
    assert want.sum(1).max() < 0.99


def test_without_a_walk_the_evidence_stays(model):
    runner = engine()
    base = result(runner, job(method="base"))
    still = result(runner, job(nerve=Nerve(alpha=0.0)))
    moved = result(runner, job(nerve=Nerve(alpha=0.95, steps=60)))
    assert (base.ids == still.ids).mean() > (base.ids == moved.ids).mean()
    assert model.passes == 1


def test_background_words_leave_pixels_empty(model):
    strict = Nerve(score_threshold=0.0, background_threshold=0.99)
    kept = replace(strict, background_threshold=0.01)
    few = result(engine(), job("tree\n- sky", nerve=strict))
    many = result(engine(), job("tree\n- sky", nerve=kept))
    assert (few.ids == 0).sum() > (many.ids == 0).sum()
    assert (
        result(engine(), job("tree\n- sky", nerve=replace(strict, score_threshold=1.0))).ids == 0
    ).all()
    assert model.passes == 3


def test_a_region_is_walked_by_itself(model):
    runner = engine()
    part = result(runner, job(region=(4, 8, 40, 60)))
    alone = result(runner, job(), IMAGE[4:40, 8:60])
    assert part.origin == (4, 8)
    np.testing.assert_array_equal(part.ids, alone.ids)
    assert model.passes == 1


def test_freecp_can_take_the_diffusion_affinity(model):
    runner = engine()
    own = result(runner, job(method="freecp", freecp=FreeCP(rp_threshold=0)))
    taken = result(runner, job(method="freecp", freecp=FreeCP(rp_threshold=0, source="diffusion")))
    assert model.passes == 1
    assert (own.score != taken.score).any()


def test_a_bundle_without_a_diffusion_model_is_refused_by_name(monkeypatch):
    bare = replace(bundle_of("demo"), diffusion="")
    monkeypatch.setattr(reading, "bundle_of", lambda _: bare)
    with pytest.raises(JobError, match="cannot do nerve: choose base or freecp or reme"):
        result(engine(), job())
    with pytest.raises(JobError, match="has no diffusion model"):
        result(engine(), job(method="freecp", freecp=FreeCP(source="diffusion")))


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (20, 20)])
def test_tiny_thin_and_flat_images_are_labelled(model, shape):
    image = np.full((*shape, 3), 90, np.uint8)
    assert result(engine(), job(), image).ids.shape == shape
    assert model.passes == 1

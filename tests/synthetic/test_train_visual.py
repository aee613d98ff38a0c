"""Training of the demo visual encoder: views, loss, real steps, resuming, export, retrieval."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from transformers import Dinov2Model
from typer.testing import CliRunner

from benchmarks.synthetic import scene
from benchmarks.synthetic.train import distil, views, visual, visual_evaluate, visual_model
from benchmarks.synthetic.train.__main__ import app
from benchmarks.synthetic.train.cache import open_cache
from benchmarks.synthetic.train.proposals import CUTS, Proposals, open_proposals
from benchmarks.synthetic.train.views import SEEN, ViewSource, view_side
from benchmarks.synthetic.train.visual import Plan, learning_rate, train
from benchmarks.synthetic.train.visual_evaluate import (
    BINS,
    Segments,
    collect,
    histogram,
    retrieved,
    spread,
)
from benchmarks.synthetic.train.visual_model import (
    PATCH,
    Student,
    centred,
    config,
    export,
    from_bytes,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("visual")
    images = open_cache(folder / "cache", 4, processes=1).images
    open_proposals(folder / "cache", images, processes=1)
    return folder


def opened(folder):
    images = open_cache(folder / "cache", 4).images
    return ViewSource(images, open_proposals(folder / "cache", images), PATCH)


@pytest.fixture
def short(monkeypatch):
    """Two validation scenes, drawn small, and an encoder that sees them small."""
    for module in (visual_evaluate, visual_model):
        monkeypatch.setattr(module, "SIDE", 64)
    shown = [scene(1_000_000 + i, "val", (64, 80)) for i in range(2)]
    monkeypatch.setattr(visual, "validation_scenes", lambda _count: shown)
    return shown


def quartered():
    """Two scenes of four squares, each square of a colour of its own and its own segment."""
    at = np.arange(256) // 128
    quarter = at[:, None] * 2 + at
    shades = np.asarray([[250, 20, 20], [20, 250, 20], [20, 20, 250], [240, 240, 20]], np.uint8)
    images = np.stack([shades[quarter], 255 - shades[quarter]])
    labels = np.tile(quarter[::2, ::2].astype(np.uint8) + 1, (2, CUTS, 1, 1))
    rows = [
        [scene, cut, q + 1, 64 * (q // 2), 64 * (q % 2), 64 * (q // 2) + 64, 64 * (q % 2) + 64]
        for scene in range(2)
        for cut in range(CUTS)
        for q in range(4)
    ]
    return ViewSource(images, Proposals(labels, np.asarray(rows, np.int32)), PATCH)


def colours(batch):
    """Mean colour (2 · P, 3) of what each description is told to cover."""
    tokens = F.avg_pool2d(batch.images, PATCH).flatten(2).transpose(1, 2)
    return distil.pooled(tokens, batch.owner, batch.weights)


@pytest.mark.parametrize("side", SEEN)
def test_a_segment_and_its_pasted_copy_show_the_same(monkeypatch, side):
    """Without the change of colours, both are of the one colour that the segment has."""
    monkeypatch.setattr(views, "_recoloured", lambda p, _g: p.permute(0, 3, 1, 2).float() / 255)
    batch = quartered().batch(np.random.default_rng(2), side, 24)
    count = side // PATCH
    assert batch.images.shape[1:] == (3, side, side)
    assert batch.weights.shape == (48, count * count)
    assert batch.weights.min() >= 0
    assert batch.weights.max() <= 1
    first, second = colours(batch).chunk(2)
    assert (first - second).abs().max(dim=1).values.quantile(0.9) < 0.15
    assert first.std(dim=0).min() > 0.2
    assert not set(batch.owner[:24].tolist()) & set(batch.owner[24:].tolist())


def test_a_segment_pasted_over_another_hides_it(monkeypatch):
    monkeypatch.setattr(views, "_JITTER", 0)
    batch = quartered().batch(np.random.default_rng(0), 128, 16)
    covered = torch.zeros(len(batch.images), batch.weights.shape[1])
    covered.index_add_(0, batch.owner[16:], batch.weights[16:])
    assert covered.max() <= 1 + 1e-6
    monkeypatch.setattr(views, "_JITTER", 60)
    heaped = quartered().batch(np.random.default_rng(0), 128, 16)
    total = torch.zeros_like(covered).index_add_(0, heaped.owner[16:], heaped.weights[16:])
    assert total.max() <= 1 + 1e-6
    assert heaped.weights[16:].sum() < 0.95 * batch.weights[16:].sum()


def test_no_segment_is_told_twice_by_two_cuts():
    """All cuts of these scenes are alike, so that only the first of them is told."""
    source = quartered()
    found = source._shown(np.random.default_rng(0), 0, (0.0, 0.0, 256.0, 256.0), 128)
    assert sorted(found) == [(0, CUTS - 1, q) for q in (1, 2, 3, 4)]
    assert all(share.sum() == 64 for share in found.values())


def test_a_large_segment_is_pasted_in_part_and_its_zoom_kept(monkeypatch):
    monkeypatch.setattr(views, "FITTED", 0.0)
    source, rng = quartered(), np.random.default_rng(0)
    box = np.asarray([0.0, 0.0, 128.0, 128.0])
    inside = source.proposals.labels[0, 0] == 1
    for _ in range(20):
        low, span, zoom = source._part(rng, inside, box)
        assert (low >= 0).all()
        assert (low + span <= 128 + 1e-9).all()
        np.testing.assert_allclose(span, min(128, views.CELL * zoom))
    monkeypatch.setattr(views, "FITTED", 1.0)
    _, span, zoom = source._part(rng, inside, box)
    assert zoom >= 2
    assert span.tolist() == [128, 128]


def test_batches_stay_in_range_and_depend_on_the_generator_alone():
    source = quartered()
    one, two, other = (source.batch(np.random.default_rng(s), 128, 10) for s in (5, 5, 6))
    torch.testing.assert_close(one.images, two.images)
    torch.testing.assert_close(one.weights, two.weights)
    assert one.images.min() >= 0
    assert one.images.max() <= 1
    assert one.images.shape != other.images.shape or not torch.equal(one.images, other.images)


def test_larger_views_come_late():
    rng = np.random.default_rng(0)
    assert {view_side(rng, 0.5) for _ in range(50)} == {min(SEEN)}
    assert {view_side(rng, 0.9) for _ in range(50)} == set(SEEN)


def test_pooling_against_plain_float64():
    rng = np.random.default_rng(0)
    tokens, weights = rng.normal(size=(2, 4, 3)), rng.random((3, 4))
    weights[2] = 0
    owner = [1, 0, 1]
    found = distil.pooled(
        torch.tensor(tokens).float(), torch.tensor(owner), torch.tensor(weights).float()
    )
    expected = [w @ tokens[o] / max(w.sum(), 1e-6) for o, w in zip(owner, weights, strict=True)]
    np.testing.assert_allclose(found, np.stack(expected), atol=1e-6)


def test_contrast_against_plain_float64():
    rng = np.random.default_rng(1)
    rows, older = rng.normal(size=(6, 5)), rng.normal(size=(3, 5))
    rows, older = (a / np.linalg.norm(a, axis=1, keepdims=True) for a in (rows, older))
    every, expected = np.concatenate([rows, older]), []
    for i in range(6):
        logits = np.delete(every, i, axis=0) @ rows[i] / 0.1
        expected.append(np.log(np.exp(logits).sum()) - rows[(i + 3) % 6] @ rows[i] / 0.1)
    found = distil.contrast(torch.as_tensor(rows), torch.as_tensor(older))
    np.testing.assert_allclose(found, np.mean(expected), rtol=1e-4)


def test_redundancy_s_slope_is_that_of_the_squared_correlations():
    rows = torch.randn(40, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    rows[:, 1] += rows[:, 0]
    rows = ((rows - rows.mean(0)) / rows.std(0, correction=0)).requires_grad_()
    fixed = distil.correlation(rows, torch.eye(4).double(), keep=0.0)
    np.testing.assert_allclose(fixed.detach(), np.corrcoef(rows.detach().T), atol=1e-9)
    given = torch.autograd.grad(distil.redundancy(rows, fixed.detach()), rows)[0]
    apart = (rows.T @ rows / 40) * (1 - torch.eye(4))
    expected = torch.autograd.grad(apart.square().sum() / 2 / 4, rows)[0]
    torch.testing.assert_close(given, expected)


def test_redundancy_is_nothing_for_channels_that_tell_different_things():
    rows = torch.tensor([[1.0, 1], [1, -1], [-1, 1], [-1, -1]])
    alike = rows[:, :1].expand(-1, 2)
    eye = torch.eye(2)
    assert distil.redundancy(rows, distil.correlation(rows, eye, keep=0.0)) == 0
    assert distil.redundancy(alike, distil.correlation(alike, eye, keep=0.0)) == 1
    torch.testing.assert_close(distil.correlation(alike, eye), torch.tensor([[1, 0.05], [0.05, 1]]))


def test_centring_takes_the_mean_token_out_and_changes_nothing_else():
    images = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), np.uint8)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(visual_model, "SIDE", 64)
        model = Student().eval()
        ready = centred(model, images)
    with torch.no_grad():
        before, after = (m(from_bytes(images))[:, 1:] for m in (model, ready))
    assert before.mean(dim=(0, 1)).abs().max() > 1e-3
    torch.testing.assert_close(after.mean(dim=(0, 1)), torch.zeros(192), atol=1e-5, rtol=0)
    torch.testing.assert_close(after, before - before.mean(dim=(0, 1)), atol=1e-5, rtol=0)


@pytest.mark.usefixtures("short")
def test_training_resumes_where_it_stopped(folder):
    plan = Plan(folder, steps=4, scenes=4, segments=6)
    whole = train(replace(plan, validate_minutes=0.0), resumed=False)
    (folder / "checkpoint.pt").unlink()
    half = visual.start(plan, torch.device("cpu"))
    source = opened(folder)
    for _ in range(2):
        visual.advance(half, plan, source)
    visual.save(half, folder / "checkpoint.pt")
    resumed = train(plan, resumed=True)
    assert resumed.step == whole.step == 4
    for a, b in zip(whole.average.parameters(), resumed.average.parameters(), strict=True):
        torch.testing.assert_close(a, b)
    torch.testing.assert_close(whole.queue, resumed.queue)
    torch.testing.assert_close(whole.correlations, resumed.correlations)
    fresh = visual.start(plan, torch.device("cpu"))
    assert not torch.equal(fresh.queue, resumed.queue)
    assert not torch.equal(fresh.correlations, resumed.correlations)
    entries = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    assert {"exported", "random", "histogram", "step", "scenes"} <= set(entries[-1])
    assert entries[-2]["best"] == resumed.best >= entries[-2]["encoder"]["nearest"]
    loaded = Dinov2Model.from_pretrained(folder / "export", local_files_only=True)
    trained = centred(resumed.average, source.images).encoder
    for a, b in zip(loaded.parameters(), trained.parameters(), strict=True):
        torch.testing.assert_close(a, b.half())
    assert {"cosine 5", "cosine 50", "cosine 95"} <= set(entries[-1]["exported"])


def test_only_the_best_so_far_is_exported(tmp_path, folder, short):
    run, source = visual.start(Plan(tmp_path), torch.device("cpu")), opened(folder)
    run.best = 100.1
    visual.validate(run, Plan(tmp_path), source, short)
    assert not (tmp_path / "export").exists()
    run.best = 0.0
    visual.validate(run, Plan(tmp_path), source, short)
    assert (tmp_path / "export" / "model.safetensors").is_file()


def test_a_training_goes_on_from_an_encoder(tmp_path):
    torch.manual_seed(3)
    held = Student()
    export(held.state_dict(), tmp_path)
    run = visual.start(Plan(tmp_path, begin=tmp_path), torch.device("cpu"))
    for model in (run.model, run.average):
        for a, b in zip(held.encoder.parameters(), model.encoder.parameters(), strict=True):
            torch.testing.assert_close(a.half().float(), b)


@pytest.mark.usefixtures("short")
def test_the_command_trains(folder):
    args = ["visual", "--steps", "1", "--scenes", "4", "--out", str(folder), "--device", "cpu"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(views, "SEGMENTS", 4)
        done = CliRunner().invoke(app, args)
    assert done.exit_code == 0, done.output
    assert (folder / "export" / "model.safetensors").is_file()


def test_a_step_s_rate_rises_then_falls():
    rates = [learning_rate(d, 1.0) for d in (0.0, 0.02, 0.04, 0.5, 1.0)]
    assert rates[0] < rates[1] < rates[2] > rates[3] > rates[4] > 0


def test_the_export_is_small_and_leaves_the_standardising_behind(tmp_path):
    path = export(Student().state_dict(), tmp_path)
    assert path.stat().st_size < 16e6
    assert json.loads((tmp_path / "config.json").read_text())["model_type"] == "dinov2"
    assert config().patch_size == PATCH


def test_retrieval_leaves_the_own_scene_out():
    rows = F.normalize(torch.tensor([[1.0, 0], [1, 0.1], [0, 1], [0.1, 1]]), dim=1)
    alike = Segments(rows, torch.tensor([1, 1, 13, 13]), torch.tensor([0, 1, 0, 1]))
    assert retrieved(alike, 1) == dict.fromkeys(
        ("nearest", "vote", "stuff", "things", "macro"), 100
    )
    apart = Segments(rows, torch.tensor([1, 1, 13, 13]), torch.tensor([0, 0, 1, 1]))
    assert retrieved(apart, 1)["nearest"] == 0


def test_the_spread_is_of_cosines_between_scenes():
    rows = F.normalize(torch.tensor([[1.0, 0], [-1, 0], [0.6, 0.8], [0.8, 0.6]]), dim=1)
    held = Segments(rows, torch.ones(4, dtype=torch.int64), torch.tensor([0, 0, 1, 1]))
    found = spread(held)
    expected = np.percentile([0.6, 0.8, -0.6, -0.8] * 2, [5, 50, 95])
    np.testing.assert_allclose(list(found.values()), expected, atol=1e-3)


def test_the_histogram_counts_each_segment_s_colours(short):
    found = collect(short, histogram)
    assert found.rows.shape == (len(found.classes), BINS**3)
    torch.testing.assert_close(found.rows.norm(dim=1), torch.ones(len(found.rows)))
    shown = short[0]
    inside = shown.image[shown.labels == int(found.classes[0])].astype(int) * BINS // 256
    bins = np.bincount(inside @ [BINS**2, BINS, 1], minlength=BINS**3)
    np.testing.assert_allclose(found.rows[0], np.sqrt(bins / bins.sum()), atol=1e-5)

"""Training of the demo visual encoder: views, losses, real steps, resuming, export, retrieval."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from transformers import Dinov2Model
from typer.testing import CliRunner

from napari_prelabel.synthetic import scene
from napari_prelabel.synthetic.train import distil, views, visual, visual_evaluate
from napari_prelabel.synthetic.train.__main__ import app
from napari_prelabel.synthetic.train.cache import open_cache
from napari_prelabel.synthetic.train.views import BOXES, ViewSource, view_side
from napari_prelabel.synthetic.train.visual import Plan, learning_rate, train
from napari_prelabel.synthetic.train.visual_evaluate import (
    BINS,
    Segments,
    collect,
    histogram,
    retrieved,
)
from napari_prelabel.synthetic.train.visual_model import PATCH, Student, config, export


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("visual")
    open_cache(folder / "cache", 4, processes=1)
    return folder


@pytest.fixture
def short(monkeypatch):
    """Two validation scenes, drawn small, and an encoder that sees them small."""
    monkeypatch.setattr(visual_evaluate, "SIDE", 64)
    shown = [scene(1_000_000 + i, "val", (64, 80)) for i in range(2)]
    monkeypatch.setattr(visual, "validation_scenes", lambda _count: shown)
    return shown


def coordinates(side=256):
    """A scene whose red is its row and whose green is its column."""
    y, x = np.mgrid[:side, :side]
    return np.stack([y, x, np.zeros_like(y)], -1).astype(np.uint8)[None]


def test_boxes_of_both_views_lie_on_the_same_place(monkeypatch):
    """Without the change of colours, the mean of a box tells where in the scene it lies."""
    monkeypatch.setattr(views, "_recoloured", lambda p, _g: p.permute(0, 3, 1, 2).float())
    pair = ViewSource(coordinates(), PATCH).pairs(np.random.default_rng(2), 64, 8)
    first, second = (
        distil.pooled_boxes(i.flatten(2).transpose(1, 2), b)
        for i, b in zip(pair.images, pair.boxes, strict=True)
    )
    assert first.shape == (8, BOXES, 3)
    assert (first - second).abs().max() < 3  # of 256 pixels
    assert first[..., :2].std() > 20
    assert all(((b >= -1e-6) & (b <= 1 + 1e-6)).all() for b in pair.boxes)


def test_views_stay_in_range_and_depend_on_the_generator_alone():
    images = np.random.default_rng(0).integers(0, 256, (2, 256, 256, 3), np.uint8)
    source = ViewSource(images, PATCH)
    one, two = (source.pairs(np.random.default_rng(5), 48, 6) for _ in range(2))
    for a, b in zip(one.images, two.images, strict=True):
        assert a.shape == (6, 3, 48, 48)
        assert a.min() >= 0
        assert a.max() <= 1
        torch.testing.assert_close(a, b)
    hidden = torch.cat(one.masked)
    assert hidden.shape == (12, 36)
    assert 0 < hidden.float().mean() < 0.5
    assert not hidden.all(dim=1).any()


def test_views_look_for_what_varies_from_afar():
    scene = np.full((1, 256, 256, 3), 128, np.uint8)
    scene[0, 64:128, 160:224] = (255, 0, 0)
    scene[0, ::2, :128] += 40  # a texture, which vanishes from afar
    rng = np.random.default_rng(0)
    image = Image.fromarray(scene[0])
    places = np.asarray([views._place(rng, image, 48) for _ in range(200)])
    near = (np.abs(places - (96, 192)) < 64).all(axis=1)
    assert near.mean() > 0.4  # by chance, one in four


def test_larger_views_come_later():
    rng = np.random.default_rng(0)
    early = [view_side(rng, 0.0) for _ in range(50)]
    late = [view_side(rng, 0.9) for _ in range(50)]
    assert np.mean(late) > np.mean(early) + 10


def test_sinkhorn_fills_clusters_evenly_and_rows_sum_to_one():
    scores = torch.randn(400, 8, generator=torch.Generator().manual_seed(0)) * 0.1
    scores[:, 0] += 0.5  # without balance, everything would fall into the first
    q = distil.sinkhorn(scores, rounds=20)
    torch.testing.assert_close(q.sum(1), torch.ones(400))
    torch.testing.assert_close(q.sum(0), torch.full((8,), 50.0), atol=0.5, rtol=0)
    few = distil.sinkhorn(scores)
    assert few.sum(0).max() < 0.25 * 400 < scores.argmax(1).bincount().max()


def test_assignment_is_a_cross_entropy():
    rng = np.random.default_rng(0)
    scores, target = rng.normal(size=(5, 4)), rng.dirichlet(np.ones(4), 5)
    logp = scores / 0.1 - np.log(np.exp(scores / 0.1).sum(1, keepdims=True))
    found = distil.assignment(torch.as_tensor(scores), torch.as_tensor(target))
    np.testing.assert_allclose(found, -(target * logp).sum(1), rtol=1e-5)


def test_contrast_against_plain_float64():
    rng = np.random.default_rng(1)
    rows, older = rng.normal(size=(6, 5)), rng.normal(size=(3, 5))
    rows, older = (a / np.linalg.norm(a, axis=1, keepdims=True) for a in (rows, older))
    cluster = np.asarray([0, 1, 2, 0, 0, 2, 1, 2, 3])
    every, expected = np.concatenate([rows, older]), []
    for i in range(6):
        match = (i + 3) % 6
        others = [j for j in range(9) if j == match or (j != i and cluster[j] != cluster[i])]
        logits = every[others] @ rows[i] / 0.1
        expected.append(np.log(np.exp(logits).sum()) - every[match] @ rows[i] / 0.1)
    given = (torch.as_tensor(rows), torch.as_tensor(older), torch.as_tensor(cluster))
    np.testing.assert_allclose(distil.contrast(*given), np.mean(expected), rtol=1e-4)


def test_hidden_tokens_change_what_the_model_says_and_learn():
    model = Student()
    pixels = torch.randn(2, 3, 48, 48)
    hidden = torch.zeros(2, 36, dtype=torch.bool)
    hidden[:, :9] = True
    seen, masked = model(pixels), model(pixels, hidden)
    assert seen.shape == (2, 37, 192)
    assert not torch.allclose(seen, masked)
    masked.sum().backward()
    assert model.encoder.embeddings.mask_token.grad.abs().sum() > 0


@pytest.mark.usefixtures("short")
def test_training_resumes_where_it_stopped(folder):
    plan = Plan(folder, steps=4, scenes=4, pairs=3)
    whole = train(replace(plan, validate_minutes=0.0), resumed=False)
    (folder / "checkpoint.pt").unlink()
    half = visual.start(plan, torch.device("cpu"))
    source = ViewSource(open_cache(folder / "cache", 4).images, PATCH)
    for _ in range(2):
        visual.advance(half, plan, source)
    visual.save(half, folder / "checkpoint.pt")
    resumed = train(plan, resumed=True)
    assert resumed.step == whole.step == 4
    for a, b in zip(whole.average.parameters(), resumed.average.parameters(), strict=True):
        torch.testing.assert_close(a, b)
    assert not torch.equal(*(r.queue for r in (resumed, visual.start(plan, half.queue.device))))
    entries = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    assert {"exported", "random", "histogram", "step", "scenes"} <= set(entries[-1])
    assert entries[-2]["best"] == resumed.best >= entries[-2]["encoder"]["nearest"]
    loaded = Dinov2Model.from_pretrained(folder / "export", local_files_only=True)
    for a, b in zip(loaded.parameters(), resumed.average.encoder.parameters(), strict=True):
        torch.testing.assert_close(a, b.half())


def test_only_the_best_so_far_is_exported(tmp_path, short):
    run = visual.start(Plan(tmp_path), torch.device("cpu"))
    run.best = 100.1
    visual.validate(run, Plan(tmp_path), short)
    assert not (tmp_path / "export").exists()
    run.best = 0.0
    visual.validate(run, Plan(tmp_path), short)
    assert (tmp_path / "export" / "model.safetensors").is_file()


@pytest.mark.usefixtures("short")
def test_the_command_trains(folder):
    args = ["visual", "--steps", "1", "--scenes", "4", "--out", str(folder), "--device", "cpu"]
    small = {48: 2, 64: 2, 96: 2, 128: 2}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("napari_prelabel.synthetic.train.views.PAIRS", small)
        done = CliRunner().invoke(app, args)
    assert done.exit_code == 0, done.output
    assert (folder / "export" / "model.safetensors").is_file()


def test_a_step_s_rate_rises_then_falls():
    rates = [learning_rate(d, 1.0) for d in (0.0, 0.02, 0.04, 0.5, 1.0)]
    assert rates[0] < rates[1] < rates[2] > rates[3] > rates[4] > 0


def test_the_export_is_small_and_leaves_the_heads_behind(tmp_path):
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


def test_the_histogram_counts_each_segment_s_colours(short):
    found = collect(short, histogram)
    assert found.rows.shape == (len(found.classes), BINS**3)
    torch.testing.assert_close(found.rows.norm(dim=1), torch.ones(len(found.rows)))
    shown = short[0]
    inside = shown.image[shown.labels == int(found.classes[0])].astype(int) * BINS // 256
    bins = np.bincount(inside @ [BINS**2, BINS, 1], minlength=BINS**3)
    np.testing.assert_allclose(found.rows[0], np.sqrt(bins / bins.sum()), atol=1e-5)

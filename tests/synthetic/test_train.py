"""Training of the demo CLIP: losses, passes, real steps, resuming, export through open_clip."""

import json

import numpy as np
import open_clip
import pytest
import torch
import torch.nn.functional as F

from benchmarks.synthetic import CLASS_IDS, CLASSES, DISTRACTORS
from benchmarks.synthetic.train import loader, losses
from benchmarks.synthetic.train.cache import open_cache
from benchmarks.synthetic.train.clip import Plan, learning_rate, train
from benchmarks.synthetic.train.crops import (
    BATCH,
    NAMED_SHARE,
    CropSource,
    vocabulary_words,
)
from benchmarks.synthetic.train.evaluate import refined
from benchmarks.synthetic.train.loader import Order
from benchmarks.synthetic.train.model import (
    CONFIG,
    TAILS,
    build,
    embed,
    encode_text,
    export,
    tail,
    tokenize,
    trunk,
)

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return open_cache(tmp_path_factory.mktemp("cache"), 6, processes=1)


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return build().eval()


def test_the_cache_is_drawn_once(tmp_path):
    first = open_cache(tmp_path, 2, processes=1)
    stamp = (tmp_path / "images.npy").stat().st_mtime_ns
    again = open_cache(tmp_path, 2, processes=1)
    assert (tmp_path / "images.npy").stat().st_mtime_ns == stamp
    np.testing.assert_array_equal(first.labels, again.labels)


def test_crops_and_their_captions_agree(cache):
    source = CropSource(cache, ["granite", "tuba", *DISTRACTORS])
    batch = source.batch(np.random.default_rng(0), 48, 24)
    assert batch.images.shape == (24, 48, 48, 3)
    assert batch.named.any(axis=1).all()
    assert len(batch.phrases) == len(CLASSES) + 8
    assert not any(d in p for d in DISTRACTORS for p in batch.phrases)
    for info, phrase in zip(CLASSES, batch.phrases, strict=False):
        assert any(w in phrase for w in (info.name, *info.synonyms, *info.looks))
    for caption, named in zip(batch.captions, batch.named, strict=True):
        said = {c.name for c in CLASSES if f" {c.name} " in f" {caption} ".replace(",", " ")}
        assert all(named[CLASS_IDS[n] - 1] for n in said)
    same = source.batch(np.random.default_rng(0), 48, 24)
    np.testing.assert_array_equal(batch.images, same.images)


def test_shares_count_the_crop_s_own_labels(cache):
    source = CropSource(cache, ["tuba"])
    shares = source._shares(0, (0, 0, 256, 256))
    truth = np.bincount(cache.labels[0].ravel(), minlength=33)[1:] / 256**2
    np.testing.assert_allclose(shares, truth, atol=0.02)
    assert shares.sum() == pytest.approx(1)
    assert NAMED_SHARE < 0.05


def test_strange_words_are_whole_and_unused():
    words = vocabulary_words()
    assert len(words) > 10_000
    assert not {"barn", "water", "lagoon"} & set(words)


def test_text_pass_equals_open_clip_s(model):
    texts = ["a red barn", "soft blurred clouds", "a"]
    tokenizer = open_clip.SimpleTokenizer(context_length=32)
    with torch.no_grad():
        expected = F.normalize(model.encode_text(tokenizer(texts)), dim=-1)
        torch.testing.assert_close(encode_text(model, texts, CPU), expected, atol=1e-5, rtol=1e-4)
    assert tokenize(texts).shape[1] == 8


def test_vanilla_pass_equals_open_clip_s(model):
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        states, maps = trunk(model.visual, images, with_attention=True)
        out = tail(model.visual, states, "vanilla", (8, 8))
        torch.testing.assert_close(out[:, 0], model.encode_image(images), atol=1e-4, rtol=1e-3)
    assert len(maps) == CONFIG["model_cfg"]["vision_cfg"]["layers"] - 1
    torch.testing.assert_close(maps[0].sum(-1), torch.ones(2, 65), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", TAILS)
def test_tails_answer_on_any_grid(model, name):
    with torch.no_grad():
        states, _ = trunk(model.visual, torch.randn(1, 3, 24, 48), with_attention=False)
        out = tail(model.visual, states, name, (3, 6))
    assert out.shape == (1, 19, 128)
    assert out.isfinite().all()


def test_positions_are_resized_to_the_grid(model):
    with torch.no_grad():
        assert embed(model.visual, torch.zeros(1, 3, 40, 16)).shape == (1, 11, 192)


def test_losses_against_plain_float64():
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.ones(5), (2, 6))
    named = np.asarray([[1, 1, 0], [0, 1, 0]], bool)
    logp, known = torch.as_tensor(np.log(p)), torch.as_tensor(named)
    mass = (p[..., :3] * named[:, None]).sum(-1)
    assert float(losses.explained(logp, known)) == pytest.approx(-np.log(mass).mean())
    where = np.exp(2 * np.log(p[..., :3]))
    where /= where.sum(1, keepdims=True)
    pooled = (where * np.log(p[..., :3])).sum(1)
    expected = -(pooled * named).sum() / named.sum()
    assert float(losses.found(logp, known)) == pytest.approx(expected)
    belief = losses.consensus([logp, logp], known, power=2.0).numpy()
    mean = p[..., :3] * named[:, None]
    share = (mean / mean.sum(-1, keepdims=True)).mean(1, keepdims=True)
    sharp = (mean / np.maximum(share, 1e-4) ** 0.6) ** 2
    np.testing.assert_allclose(belief, sharp / sharp.sum(-1, keepdims=True), atol=1e-4)
    cross = -(belief * np.log(p[..., :3])).sum(-1)
    share = belief / np.maximum(belief.sum(1, keepdims=True), 1)
    weight = share.sum(-1) / share.sum(-1).sum(1, keepdims=True)
    expected = (cross.mean() + (weight * cross).sum(1).mean()) / 2
    agreed = losses.agreement(logp, torch.as_tensor(belief), known)
    assert float(agreed) == pytest.approx(expected)


def test_a_small_thing_weighs_as_much_as_a_large_region():
    belief = torch.zeros(1, 10, 3)
    belief[0, :9, 0] = 1
    belief[0, 9, 2] = 1
    weight = losses.balanced(belief, torch.tensor([[True, False, True]]))
    torch.testing.assert_close(weight[0, 9], weight[0, :9].sum())
    assert float(weight.sum()) == pytest.approx(1)


def test_affinity_rewards_attention_within_a_region():
    belief = torch.eye(2)[torch.tensor([0, 0, 1, 1])][None]
    named = torch.tensor([[True, True]])
    block = torch.block_diag(torch.ones(2, 2), torch.ones(2, 2)) + 1e-3
    good = torch.ones(1, 5, 5)
    good[0, 1:, 1:] = block
    bad = torch.ones(1, 5, 5)
    assert losses.affinity([good], belief, named) < losses.affinity([bad], belief, named)
    alone = torch.tensor([[True, False]])
    assert float(losses.affinity([good], belief, alone)) == 0.0


def test_contrastive_ignores_pairs_that_name_the_same():
    rows = F.normalize(torch.randn(4, 8, dtype=torch.float64), dim=1).float()
    named = torch.eye(4, dtype=torch.bool)
    apart = losses.contrastive(rows, rows, torch.tensor(5.0), named)
    logits = 5 * (rows.double() @ rows.double().T)
    expected = (torch.logsumexp(logits, 1) - logits.diagonal()).mean()
    assert float(apart) == pytest.approx(float(expected), rel=1e-4)
    same = torch.ones(4, 4, dtype=torch.bool)
    assert float(losses.contrastive(rows, rows, torch.tensor(5.0), same)) < 1e-3


def test_refinement_keeps_a_uniform_map_uniform():
    maps = [torch.rand(1, 7, 7).softmax(-1)]
    out = refined(torch.full((1, 6, 2), 0.5), maps)
    torch.testing.assert_close(out, torch.full((1, 6, 2), 0.5), atol=0.02, rtol=0)


def test_learning_rate_warms_up_and_decays():
    rates = [learning_rate(d, 1.0) for d in (0.0, 0.01, 0.02, 0.5, 1.0)]
    assert rates[0] < rates[1] < rates[2]
    assert rates[2] > rates[3] > rates[4] > 0


def plan(folder, steps):
    return Plan(folder, steps=steps, scenes=6, batch=6, device="cpu")


def test_training_resumes_where_it_stopped(tmp_path, cache, monkeypatch):
    from benchmarks.synthetic.train import clip

    monkeypatch.setattr(clip, "open_source", lambda *_: CropSource(cache, ["tuba"]))
    monkeypatch.setattr(clip, "validate", lambda *_: {})
    monkeypatch.setattr(clip.Run, "done", lambda run, plan: 0.5 if run.step < plan.steps else 1.0)
    whole = train(plan(tmp_path / "whole", 3), resumed=False)
    train(plan(tmp_path / "parts", 2), resumed=False)
    parts = train(plan(tmp_path / "parts", 3), resumed=True)
    assert whole.step == parts.step == 3
    assert parts.elapsed > 0
    start = build().state_dict()
    for name, value in whole.model.state_dict().items():
        torch.testing.assert_close(parts.model.state_dict()[name], value, atol=1e-5, rtol=1e-4)
    moved = whole.model.state_dict()["visual.proj"] - start["visual.proj"]
    assert moved.abs().max() > 1e-4


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_two_checkpoints_are_blended(tmp_path, share):
    from safetensors.torch import load_file
    from typer.testing import CliRunner

    from benchmarks.synthetic.train import clip
    from benchmarks.synthetic.train.__main__ import app

    runs = []
    for seed, name in ((1, "early.pt"), (2, "late.pt")):
        runs.append(clip.start(Plan(tmp_path, seed=seed), CPU))
        clip.save(runs[-1], tmp_path / name)
    files = [str(tmp_path / name) for name in ("early.pt", "late.pt")]
    told = CliRunner().invoke(
        app, ["blend-clip", *files, "--share", str(share), "--out", str(tmp_path / "both")]
    )
    assert told.exit_code == 0, told.output
    found = load_file(tmp_path / "both" / "open_clip_model.safetensors")
    early, late = (run.average["visual.proj"] for run in runs)
    want = ((1 - share) * early + share * late).half()
    torch.testing.assert_close(found["visual.proj"], want, atol=1e-3, rtol=1e-3)


def test_a_caption_s_words_share_the_probability():
    words = F.normalize(torch.randn(6, 8), dim=1)
    image = F.normalize(torch.randn(3, 8), dim=1)
    named = torch.tensor([[1, 0, 0, 0], [1, 1, 0, 0], [0, 0, 0, 1]], dtype=torch.bool)
    logits = 20 * image.double().numpy() @ words.double().numpy().T
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    want = -np.mean([np.log(p[0, 0]), np.log(p[1, :2]).mean(), np.log(p[2, 3])])
    found = losses.naming(image, words, torch.tensor(20.0), named)
    np.testing.assert_allclose(float(found), want, rtol=1e-4)


def test_batches_made_ahead_are_those_made_when_needed(tmp_path):
    cache = tmp_path / "cache"
    source = loader.open_source(cache, 6)
    ahead = loader.orders_ahead(lambda step: Order(3, step, 0.5, count=4), 7, cache, 6, workers=2)
    for step in (7, 8, 9):
        one, other = next(ahead), loader.make(source, Order(3, step, 0.5, count=4))
        assert one.side == other.side
        for name in ("images", "named", "tokens"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
        assert len(one.tokens) == len(one.images) + len(CLASSES) + 8
    ahead.close()


def test_larger_batches(cache):
    source = CropSource(cache, ["tuba"])
    small, large = (loader.make(source, Order(0, 1, 0.5, times)) for times in (1, 2))
    assert len(large.images) == 2 * len(small.images) == 2 * BATCH[small.side]


def test_validation_writes_figures_and_weights(tmp_path, cache, monkeypatch):
    from benchmarks.synthetic.train import clip

    chosen = plan(tmp_path, 1)
    run = clip.start(chosen, CPU)
    source = CropSource(cache, ["tuba"])
    monkeypatch.setattr(clip, "TAILS", ("vanilla",))
    entry = clip.validate(run, chosen, 1, source)
    [logged] = (tmp_path / "log.jsonl").read_text().splitlines()
    assert json.loads(logged)["vanilla"] == entry["vanilla"]
    assert 0 <= entry["vanilla"]["miou"] <= 100
    assert len(entry["attention_auc"]) == 6
    assert (tmp_path / "export" / "open_clip_model.safetensors").is_file()


def test_the_card_tells_the_log_s_figures(tmp_path):
    from typer.testing import CliRunner

    from benchmarks.synthetic.train.__main__ import app

    row = {"miou": 41.5, "stuff": 88.0, "things": 17.25}
    entry = {"step": 77, "minutes": 3.5, "retrieval": {"cls": 71.9, "mean": 67.6}}
    entry |= {f"{t}{end}": row for t in TAILS for end in ("", "_true", "_true_refined")}
    entry |= {"attention_auc": [0.8, 0.9], "logit_scale": 18.7}
    log, readme = tmp_path / "log.jsonl", tmp_path / "README.md"
    log.write_text(json.dumps(entry) + "\n")
    result = CliRunner().invoke(app, ["card", str(log), str(readme), "--notes", "Drawn by hand."])
    assert result.exit_code == 0
    text = readme.read_text()
    for figure in ("| 77 | 3.5 | 71.9 | 67.6 |", "Drawn by hand.", "0.8, 0.9", "17.25"):
        assert figure in text


def test_export_loads_through_open_clip(tmp_path, model):
    weights = export(model.state_dict(), tmp_path)
    assert weights.stat().st_size < 20e6
    assert json.loads((tmp_path / "open_clip_config.json").read_text()) == CONFIG
    words = (tmp_path / "words.txt").read_text().splitlines()
    assert {"barn", "lagoon", "water"} <= set(words)
    assert not set(words) & set(DISTRACTORS)
    loaded, _, _ = open_clip.create_model_and_transforms(f"local-dir:{tmp_path}")
    loaded.eval()
    image = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(
            loaded.encode_image(image), model.encode_image(image), atol=5e-3, rtol=5e-2
        )

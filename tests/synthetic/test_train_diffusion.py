"""Training of the demo diffusion model: crops, losses, stages, resuming, export, heads."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline, UNet2DConditionModel
from PIL import Image
from typer.testing import CliRunner

from benchmarks.synthetic.scenes import scene
from benchmarks.synthetic.train import diffusion, diffusion_card, diffusion_parts, heads
from benchmarks.synthetic.train.__main__ import app
from benchmarks.synthetic.train.cache import open_cache
from benchmarks.synthetic.train.diffusion import Plan
from napari_prelabel.models import catalog
from napari_prelabel.models.denoising import HeadMaps
from napari_prelabel.models.diffusion import load_folder
from napari_prelabel.models.entries import DiffusionEntry, pipeline
from napari_prelabel.values.errors import FileFormatError

CPU = torch.device("cpu")
ENTRY = catalog.MODELS["demo-diffusion"]


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cache")
    return folder, open_cache(folder, 4, processes=1).images


@pytest.fixture
def small(monkeypatch):
    """Tiny widths, tiny crops."""
    monkeypatch.setitem(diffusion_parts.AUTOENCODER, "block_out_channels", (8, 8, 8))
    monkeypatch.setitem(diffusion_parts.UNET, "block_out_channels", (16, 16, 16))
    monkeypatch.setitem(diffusion_parts.UNET, "attention_head_dim", (2, 2, 2))
    monkeypatch.setattr(diffusion, "AUTOENCODER_SIDE", 16)
    monkeypatch.setattr(diffusion, "unet_side", lambda *_: 32)
    monkeypatch.setattr(diffusion, "validation_images", lambda: np.zeros((2, 32, 32, 3), np.uint8))


def plan(out, images, steps):
    return Plan(out, steps=steps, cache=images[0], scenes=4, batch=2, device="cpu")


def test_crops_vary_and_repeat(images):
    one, two, again = (
        diffusion.crop(np.random.default_rng(seed), images[1], 96) for seed in (0, 1, 0)
    )
    assert one.shape == (96, 96, 3)
    assert not np.array_equal(one, two)
    np.testing.assert_array_equal(one, again)
    batch = diffusion.crops(np.random.default_rng(0), images[1], 32, 3, CPU)
    assert batch.shape == (3, 3, 32, 32)
    assert batch.min() >= -1
    assert batch.max() <= 1
    assert batch.std() > 0.1


def test_large_crops_come_late():
    rng = np.random.default_rng(0)
    early = [diffusion.unet_side(rng, 0.1) for _ in range(200)]
    late = [diffusion.unet_side(rng, 0.9) for _ in range(200)]
    assert max(early) == 128
    assert max(late) == 192
    assert set(early + late) == set(diffusion.BATCH)


def test_timesteps_stay_in_range_and_favour_the_middle():
    drawn = diffusion.timesteps(np.random.default_rng(0), 20_000).numpy()
    assert drawn.min() >= 0
    assert drawn.max() == 999
    assert 0.35 < np.mean((drawn > 150) & (drawn < 500)) < 0.75
    assert np.mean(drawn > 900) > 0.02


def test_the_denoising_loss_is_the_squared_error_of_the_velocity():
    class Known:
        def __call__(self, noisy, t, states):
            self.seen = noisy, t, states
            return type("Answer", (), {"sample": torch.ones_like(noisy)})

    rng = np.random.default_rng(0)
    latents, noise = (rng.standard_normal((2, 8, 3, 5), np.float32) for _ in range(2))
    t = np.asarray([40, 700])
    betas = np.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=np.float64) ** 2
    kept = np.cumprod(1 - betas)[t][:, None, None, None]
    model, prompt = Known(), torch.zeros(1, 8, 32)
    loss = diffusion.denoising_loss(
        model, diffusion_parts.build_scheduler(), torch.as_tensor(latents),
        torch.as_tensor(noise), torch.as_tensor(t), prompt,
    )  # fmt: skip
    velocity = np.sqrt(kept) * noise - np.sqrt(1 - kept) * latents
    np.testing.assert_allclose(loss, ((1 - velocity) ** 2).mean((1, 2, 3)), rtol=1e-4)
    noisy = np.sqrt(kept) * latents + np.sqrt(1 - kept) * noise
    np.testing.assert_allclose(model.seen[0], noisy, atol=1e-4)
    assert model.seen[2].shape == (2, 8, 32)


def test_the_autoencoder_s_loss_against_plain_float64():
    rng = np.random.default_rng(0)
    shown, again = (rng.uniform(-1, 1, (2, 3, 6, 4)) for _ in range(2))
    mean, logvar = (rng.standard_normal((2, 4, 2, 1)) for _ in range(2))

    class Posterior:
        pass

    posterior = Posterior()
    posterior.mean, posterior.logvar = torch.as_tensor(mean), torch.as_tensor(logvar)
    posterior.std = posterior.logvar.exp().sqrt()
    seen = []

    class Model:
        def encode(self, _):
            return type("Encoded", (), {"latent_dist": posterior})

        def decode(self, latents):
            seen.append(latents)
            return type("Decoded", (), {"sample": torch.as_tensor(again, dtype=torch.float32)})

    noise = torch.ones(2, 4, 2, 1)
    loss = diffusion.autoencoder_loss(Model(), torch.as_tensor(shown), noise)
    edges = sum(np.abs(np.diff(again, axis=a) - np.diff(shown, axis=a)).mean() for a in (2, 3))
    kl = 0.5 * (mean**2 + np.exp(logvar) - 1 - logvar).mean()
    missed = (again - shown)[:, :, :4].mean(axis=(2, 3))
    tint = np.abs(missed @ np.asarray(diffusion.TINTS).T).mean()
    expected = np.abs(again - shown).mean() + 0.5 * edges + 3 * tint + 1e-3 * kl
    assert float(loss) == pytest.approx(expected, rel=1e-5)
    np.testing.assert_allclose(seen[0], mean + np.exp(logvar / 2))
    diffusion.autoencoder_loss(Model(), torch.as_tensor(shown), None)
    np.testing.assert_allclose(seen[1], mean)


@pytest.mark.usefixtures("small")
def test_training_resumes_where_it_stopped(tmp_path, images, monkeypatch):
    monkeypatch.setattr(diffusion.Stage, "done", lambda s, p: 0.5 if s.step < p.steps else 1.0)
    whole = diffusion.train(plan(tmp_path / "whole", images, 3), resumed=False)
    parts = plan(tmp_path / "parts", images, 3)
    parts.out.mkdir()
    first = diffusion.start("autoencoder", parts, CPU)
    loss = diffusion.autoencoder_step(parts, images[1], CPU)
    for _ in range(2):
        diffusion.advance(first, parts, loss)
    diffusion.save(first, parts)
    diffusion.train(plan(tmp_path / "parts", images, 3), resumed=True)
    for name in diffusion.STAGES:
        one, two = (
            torch.load(tmp_path / run / f"{name}.pt", weights_only=True)
            for run in ("whole", "parts")
        )
        assert one["step"] == two["step"] == 3
        assert one["scale"] == two["scale"]
        for key, value in one["model"].items():
            torch.testing.assert_close(two["model"][key], value, atol=1e-5, rtol=1e-4)
    fresh = diffusion.start("unet", parts, CPU).model.state_dict()
    moved = torch.load(tmp_path / "whole" / "unet.pt", weights_only=True)["model"]
    assert (moved["conv_in.weight"] - fresh["conv_in.weight"]).abs().max() > 1e-4
    log = (tmp_path / "whole" / "log.jsonl").read_text()
    rows = [json.loads(line) for line in log.splitlines()]
    assert [row["stage"] for row in rows] == ["autoencoder", "unet"]
    assert rows[0]["psnr"] > 0
    assert rows[1]["loss at 300"] > 0
    model = load_folder(whole, "demo", ENTRY)
    assert model.attention(np.zeros((9, 9, 3), np.uint8)).queries[0].isfinite().all()


@pytest.mark.usefixtures("small")
def test_a_finished_run_does_nothing_more_and_exports_again(tmp_path, images, monkeypatch):
    exported = []
    monkeypatch.setattr(diffusion, "export", lambda *given: exported.append(given))
    chosen = plan(tmp_path, images, 1)
    logs = []
    for resumed in (False, True, False):
        diffusion.train(chosen, resumed=resumed)
        assert torch.load(tmp_path / "unet.pt", weights_only=True)["step"] == 1
        logs.append((tmp_path / "log.jsonl").read_text())
    assert logs[0].count("unet") == 1
    assert logs[0] == logs[1]
    assert logs[2].count("unet") == 1  # a run that begins anew leaves the old one's log behind
    exported.pop()
    (one, scale, two, _, folder), again = exported
    assert (scale, folder) == (again[1], tmp_path / "export")
    assert all(torch.equal(value, again[0][key]) for key, value in one.items())
    assert all(torch.equal(value, again[2][key]) for key, value in two.items())


@pytest.mark.usefixtures("small")
def test_nothing_is_exported_of_what_was_never_trained(tmp_path, images):
    chosen = plan(tmp_path, images, 1)
    diffusion.save(diffusion.start("autoencoder", chosen, CPU), chosen)
    with pytest.raises(FileFormatError, match=r"unet.pt is missing: train the model first"):
        diffusion.export_checkpoints(chosen, tmp_path / "export")
    assert not (tmp_path / "export").exists()


def test_the_export_is_a_pipeline_that_draws(tmp_path):
    first, second = diffusion_parts.build_autoencoder(), diffusion_parts.build_unet()
    folder = diffusion_parts.export(first.state_dict(), 2.5, second.state_dict(), 0, tmp_path / "x")
    folder = diffusion_parts.export(first.state_dict(), 2.5, second.state_dict(), 0, folder)
    files = {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}
    assert files == set(ENTRY.files)
    assert sum((folder / file).stat().st_size for file in files) < 24e6
    vae = AutoencoderKL.from_pretrained(folder / "vae")
    unet = UNet2DConditionModel.from_pretrained(folder / "unet")
    assert vae.config.scaling_factor == 2.5
    torch.testing.assert_close(
        unet.conv_in.weight.float(), second.conv_in.weight.float(), atol=1e-3, rtol=1e-3
    )
    pipeline = StableDiffusionPipeline.from_pretrained(folder, dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    [drawn] = pipeline(
        "", height=32, width=32, num_inference_steps=2, guidance_scale=1.0, output_type="np"
    ).images
    assert drawn.shape == (32, 32, 3)
    assert set(ENTRY.layers) <= set(load_folder(folder, "demo", ENTRY).every_layer)


def test_the_empty_prompt_is_the_pipeline_s_own(tmp_path):
    tokenizer, text = diffusion_parts.build_text(tmp_path, 0)
    states = diffusion_parts.empty_prompt(tokenizer, text)
    assert states.shape == (1, 8, 32)
    assert tokenizer("").input_ids == [512, 513]
    assert len(tokenizer) == 514
    assert "".join(tokenizer.convert_ids_to_tokens(tokenizer("ab").input_ids[1:-1])) == "ab</w>"
    other = diffusion_parts.empty_prompt(*diffusion_parts.build_text(tmp_path, 1))
    assert not torch.equal(other, states)


def test_head_scores_against_plain_float64():
    rng = np.random.default_rng(0)
    q, k = (torch.as_tensor(rng.standard_normal((2, 6, 4))) for _ in range(2))
    maps = HeadMaps((q,), (k,), ((2, 3),), (0.5,))
    labels = rng.integers(0, 2, (20, 31))
    pairs = heads.draw_pairs(labels, rng)
    [(scores, entropies)] = list(heads.head_scores(maps, pairs, labels.shape))
    logits = 0.5 * q.numpy() @ k.numpy().transpose(0, 2, 1)
    rows = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    for a, o in ((0, 0), (5, 77), (63, 127)):
        y, x = pairs.anchors[0][a], pairs.anchors[1][a]
        v, u = pairs.others[0][a, o], pairs.others[1][a, o]
        start, end = (y * 2 // 20) * 3 + x * 3 // 31, (v * 2 // 20) * 3 + u * 3 // 31
        np.testing.assert_allclose(scores[:, a, o], rows[:, start, end], rtol=1e-5)
        assert pairs.same[a, o] == (labels[y, x] == labels[v, u])
    starts = heads.tokens_of(pairs.anchors, labels.shape, (2, 3))
    entropy = -(rows * np.log(rows)).sum(-1)[:, starts].mean(-1) / np.log(6)
    np.testing.assert_allclose(entropies, entropy, rtol=1e-5)


def test_average_precision_by_hand():
    scores = np.asarray([[0.9, 0.8, 0.7, 0.6], [1, 2, 3, 4], [1, 1, 1, 1]], np.float32)
    same = np.asarray([[1, 0, 1, 0], [1, 0, 0, 0], [1, 1, 1, 1]], bool)
    expected = np.mean([(1 + 2 / 3) / 2, 1 / 4])
    assert heads.average_precision(scores, same) == pytest.approx(expected)


def test_the_table_has_every_head_and_knows_good_from_none():
    class Oracle:
        every_layer = ("labels", "nothing")

        def attention(self, image, *, side, timestep, layers):
            assert (side, timestep, layers) == (64, 7, self.every_layer)
            seen = image[::16, ::16, 0].ravel()
            own = torch.as_tensor(np.eye(256, dtype=np.float32)[seen])[None]
            grid = (image.shape[0] // 16, image.shape[1] // 16)
            none = torch.zeros(2, len(seen), 3)
            return HeadMaps((own, none), (own, none), (grid, grid), (20.0, 1.0))

    drawn = scene(1_000_000, "val", (64, 96))
    labels = np.kron(drawn.labels[::16, ::16], np.ones((16, 16), np.uint16))
    image = np.repeat(labels[..., None] * 7, 3, axis=2).astype(np.uint8)
    shown = type(drawn)(image, labels, drawn.captions, drawn.regions)
    rows = {(r.layer, r.head): r for r in heads.head_table(Oracle(), [shown], 64, 7)}
    assert set(rows) == {
        ("colour", "mean"), ("chance", "mean"), ("labels", "0"), ("labels", "mean"),
        ("nothing", "0"), ("nothing", "1"), ("nothing", "mean"),
    }  # fmt: skip
    assert rows["labels", "0"].auc == rows["colour", "mean"].auc == 1.0
    assert rows["nothing", "1"].auc == rows["chance", "mean"].auc == 0.5
    assert rows["nothing", "0"].entropy == pytest.approx(1, abs=1e-4)
    assert rows["labels", "0"].entropy < 0.8
    assert rows["labels", "0"].grid == 4
    assert np.isnan(rows["colour", "mean"].entropy)
    assert rows["labels", "0"].precision > rows["nothing", "0"].precision


@pytest.mark.usefixtures("small")
def test_the_commands(tmp_path, images, monkeypatch):
    runner = CliRunner()
    arguments = ["--steps", "1", "--scenes", "4", "--cache", str(images[0]), "--device", "cpu"]
    monkeypatch.setattr(diffusion, "AUTOENCODER_BATCH", 1)
    monkeypatch.setattr(diffusion, "BATCH", {32: 1})
    result = runner.invoke(app, ["diffusion", *arguments, "--out", str(tmp_path)])
    assert result.exit_code == 0, result.output
    monkeypatch.setattr(
        heads, "validation_scenes", lambda count: [scene(1_000_000, "val", (48, 64))] * count
    )
    told = tmp_path / "heads.json"
    arguments = ["--side", "32", "--timestep", "50", "--count", "1", "--to", str(told)]
    result = runner.invoke(app, ["diffusion-heads", str(tmp_path / "export"), *arguments])
    assert result.exit_code == 0, result.output
    rows = json.loads(told.read_text())
    assert {row["layer"] for row in rows} > set(ENTRY.layers) | {"colour", "chance"}
    assert f" {rows[0]['auc']} " in result.output
    steps = [{"stage": "unet", "step": step, "loss": 1 / step} for step in (50, 100)]
    (tmp_path / "steps.jsonl").write_text("".join(json.dumps(row) + "\n" for row in steps))
    small = replace(ENTRY, side=32, timestep=50)
    monkeypatch.setitem(catalog.MODELS, "demo-diffusion", small)
    monkeypatch.setattr(diffusion_card, "samples", lambda _: np.zeros((8, 8, 3), np.uint8))
    arguments = [str(tmp_path), str(tmp_path / "export"), str(told), "--notes", "By hand."]
    result = runner.invoke(app, ["diffusion-card", *arguments])
    assert result.exit_code == 0, result.output
    text = (tmp_path / "export" / "README.md").read_text()
    colour = next(row for row in rows if row["layer"] == "colour")
    assert f"gets {colour['auc']} and {colour['precision']}, chance 0.5 and" in text
    assert "By hand." in text
    assert "| unet | 1 |" in text
    for row in rows:
        assert row["layer"] in ("colour", "chance") or str(row["auc"]) in text
    assert "| mid_block.attentions.0 | 2 x 2 |" in text
    with Image.open(tmp_path / "export" / "attention.png") as picture:
        assert picture.size == (640, 480)


def test_the_loss_curve_is_a_line_of_the_log():
    rows = [{"stage": "autoencoder", "step": 9, "loss": 5.0}]
    rows += [{"stage": "unet", "step": s, "loss": v} for s, v in ((50, 1.0), (100, 0.5))]
    svg = diffusion_card.loss_curve(rows)
    assert 'points="340.0,10.0 630.0,120.0"' in svg
    assert ">0.50<" in svg
    assert ">100<" in svg


def test_samples_are_drawn_by_the_pipeline(tmp_path):
    first, second = diffusion_parts.build_autoencoder(), diffusion_parts.build_unet()
    folder = diffusion_parts.export(first.state_dict(), 1.0, second.state_dict(), 0, tmp_path / "x")
    picture = diffusion_card.samples(folder, count=2, side=16, steps=2)
    assert picture.shape == (32, 16, 3)
    assert picture.std() > 0


def test_an_entry_names_its_files():
    entry = DiffusionEntry(
        source="a/b", licence="none", files=pipeline("fp16"), layers=(), side=64, timestep=1
    )
    assert "unet/diffusion_pytorch_model.fp16.safetensors" in entry.files
    assert "vae/config.json" in entry.files

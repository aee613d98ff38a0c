"""Visual encoders: true architectures, pooling, and every bad folder in one sentence."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import Dinov2Config, Dinov2Model

from napari_prelabel.models import catalog, places
from napari_prelabel.models.clip import load_clip
from napari_prelabel.models.encoders import load_encoder
from napari_prelabel.models.entries import CONFIG, WEIGHTS, VisualEntry
from napari_prelabel.models.fetch import fetch
from napari_prelabel.models.visual import (
    MEAN,
    STD,
    ClipPatches,
    Features,
    pool_segments,
    squashed,
)
from napari_prelabel.values.encoder import Encoder
from napari_prelabel.values.errors import ChecksumMismatch, ImageError, JobError, ModelError

ENTRY = VisualEntry(source="some/where", licence="none", side=48, patch=8, shape=(24, 2, 2))


def image(height=37, width=60, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A tiny DINOv2 as the model "tiny" of the table, written as transformers writes it."""
    torch.manual_seed(0)
    config = Dinov2Config(
        hidden_size=24, num_hidden_layers=2, num_attention_heads=2, patch_size=8, image_size=32
    )
    Dinov2Model(config).save_pretrained(tmp_path / "tiny")
    monkeypatch.setenv(places.HOME_VARIABLE, str(tmp_path))
    monkeypatch.setattr(catalog, "MODELS", {**catalog.MODELS, "tiny": ENTRY})
    return tmp_path / "tiny"


def test_tokens_are_the_model_s_own_without_the_class_token(folder):
    encoder = load_encoder(Encoder.parse("tiny"))
    shown = image()
    found = encoder.encode(shown)
    model = Dinov2Model.from_pretrained(folder, local_files_only=True).eval()
    small = np.asarray(Image.fromarray(shown).resize((48, 48), Image.Resampling.BICUBIC)) / 255
    pixels = torch.as_tensor((small - MEAN) / STD, dtype=torch.float32).permute(2, 0, 1)
    with torch.no_grad():
        expected = model(pixels[None]).last_hidden_state[0, 1:]
    assert found.grid == (6, 6)
    assert found.tokens.shape == (36, encoder.width)
    assert found.tokens.dtype == torch.float32
    torch.testing.assert_close(found.tokens, expected, atol=1e-5, rtol=1e-4)


@pytest.mark.usefixtures("folder")
def test_pooling_is_a_weighted_mean_of_unit_length():
    encoder = load_encoder(Encoder.parse("tiny"))
    found = encoder.encode(image())
    labels = np.zeros((37, 60), np.int64)
    labels[:, 30:] = 1
    rows = encoder.pool(found, labels)
    masks = torch.as_tensor(np.stack([labels == 0, labels == 1]))
    weights = F.interpolate(masks[None].float(), (6, 6), mode="bilinear", align_corners=True)
    expected = F.normalize(weights[0].flatten(1) @ found.tokens, dim=1)
    torch.testing.assert_close(rows, expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(encoder.pool(found, masks), rows)
    assert encoder.pool(found, labels, 5).isfinite().all()
    assert encoder.pool(found, np.full((37, 60), -1)).shape == (0, encoder.width)


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("size", [(1, 1), (1, 5000), (3000, 2)])
def test_images_of_any_shape_have_a_finite_answer(size):
    encoder = load_encoder(Encoder.parse("tiny"))
    rows = encoder.pool(encoder.encode(image(*size)), np.zeros(size, np.int32))
    assert rows.shape == (1, encoder.width)
    assert rows.norm(dim=1).item() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(
    "bad",
    [
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((4, 4, 3)),
        np.zeros((0, 4, 3), np.uint8),
    ],
)
def test_what_is_no_image_is_refused(bad):
    with pytest.raises(ImageError, match="convert it first"):
        squashed(bad, 16)


@pytest.mark.parametrize(
    "bad",
    [np.zeros((4, 4)), np.zeros((4, 4), bool), np.zeros((2, 4, 4), int), np.zeros((0, 4), int)],
)
def test_what_are_no_segments_is_refused(bad):
    with pytest.raises(ImageError, match="Segments must be"):
        pool_segments(Features(torch.ones(4, 3), (2, 2)), bad)


@pytest.mark.usefixtures("folder")
def test_half_precision_is_near_and_has_another_digest():
    full, half = (
        load_encoder(Encoder.parse("tiny")),
        load_encoder(Encoder.parse("tiny"), precision="bfloat16"),
    )
    a, b = (F.normalize(e.encode(image()).tokens, dim=1) for e in (full, half))
    assert (a * b).sum(1).min() > 0.99
    assert b.dtype == torch.float32
    assert full.digest != half.digest
    assert full.digest == load_encoder(Encoder.parse("tiny")).digest


def test_other_weights_have_another_digest(folder):
    before = load_encoder(Encoder.parse("tiny")).digest
    state = load_file(folder / WEIGHTS)
    state["layernorm.bias"] += 1
    save_file(state, folder / WEIGHTS, {"format": "pt"})
    assert load_encoder(Encoder.parse("tiny")).digest != before


def test_the_true_base_architecture_runs_with_random_weights(monkeypatch):
    small = replace(catalog.MODELS["dinov2b-random"], side=112)
    monkeypatch.setattr(catalog, "MODELS", {"dinov2b-random": small})
    encoder = load_encoder(Encoder.parse("dinov2b-random"))
    found = encoder.encode(image(90, 40))
    assert found.grid == (8, 8)
    assert found.tokens.shape == (64, 768)
    assert encoder.pool(found, np.zeros((90, 40), int)).isfinite().all()


def test_shapes_are_those_that_were_published():
    assert (
        catalog.MODELS["dinov2l"].shape == catalog.MODELS["dinov2l-random"].shape == (1024, 24, 16)
    )
    assert {e.side // e.patch for n, e in catalog.MODELS.items() if "dinov2" in n} == {37}


def test_clip_features_are_the_mean_of_its_windows():
    encoder, clip = load_encoder(Encoder.parse("clip:demo-clip")), load_clip("demo-clip")
    assert isinstance(encoder, ClipPatches)
    shown = image(256, 320)
    total, met = torch.zeros(32, 40, clip.embed_dim), torch.zeros(32, 40, 1)
    for y in range(0, 129, 64):
        for x in range(0, 193, 64):
            window = torch.from_numpy(shown[y : y + 128, x : x + 128].copy())
            pixels = window.permute(2, 0, 1)[None].float() / 255
            rows = clip.dense(clip.encode_trunk(pixels), "clearclip")[0].reshape(16, 16, -1)
            total[y // 8 : y // 8 + 16, x // 8 : x // 8 + 16] += rows
            met[y // 8 : y // 8 + 16, x // 8 : x // 8 + 16] += 1

    found = encoder.encode(shown)

    assert found.grid == (32, 40)
    torch.testing.assert_close(found.tokens, (total / met).flatten(0, 1), atol=1e-4, rtol=0)
    assert encoder.name == "clip:demo-clip"
    assert encoder.width == found.tokens.shape[1]
    with pytest.raises(ModelError, match="demo-clip"):
        load_encoder(Encoder.parse("clip:nothing"))


def test_clip_keeps_the_proportions_of_an_image():
    assert load_encoder(Encoder.parse("clip:demo-clip")).encode(image(37, 60)).grid == (32, 52)


def test_an_encoder_reads_squares_as_it_is_and_in_windows_alike():
    plain, wide = (
        load_encoder(Encoder.parse("demo-visual")),
        load_encoder(Encoder.parse("demo-visual@windows")),
    )
    square = image(256, 256)
    assert (wide.name, wide.width) == ("demo-visual@windows", plain.width)
    assert wide.digest != plain.digest
    torch.testing.assert_close(
        wide.encode(square).tokens, plain.encode(square).tokens, atol=1e-4, rtol=1e-4
    )


def test_windows_keep_proportions_where_squashing_does_not():
    shown = image(64, 200)
    assert load_encoder(Encoder.parse("demo-visual")).encode(shown).grid == (32, 32)
    found = load_encoder(Encoder.parse("demo-visual@windows")).encode(shown)
    assert found.grid == (32, 100)
    assert len(found.tokens) == 3200
    with pytest.raises(ModelError, match="no encoder 'texture'"):
        load_encoder(Encoder.parse("texture@windows"))
    with pytest.raises(ImageError, match="convert it first"):
        load_encoder(Encoder.parse("demo-visual@windows")).encode(np.zeros((4, 4), np.uint8))


def test_dinov2s_windows_are_squares_of_its_side(monkeypatch):
    seen = []
    encoder = load_encoder(Encoder.parse("dinov2b-random@windows"))
    monkeypatch.setattr(encoder, "_tokens", lambda p: seen.append(p.shape) or torch.zeros(
        len(p), 37 * 37, 768))  # fmt: skip
    assert encoder.encode(image(100, 200)).grid == (37, 74)
    assert seen == [(4, 3, 518, 518)]


def test_clip_refuses_what_is_no_image():
    with pytest.raises(ImageError, match="convert it first"):
        load_encoder(Encoder.parse("clip:demo-clip")).encode(np.zeros((4, 4), np.uint8))


def test_the_demo_encoder_loads_and_answers():
    encoder = load_encoder(Encoder.parse("demo-visual"))
    rows = encoder.pool(encoder.encode(image(192, 256)), np.zeros((192, 256), int))
    assert rows.shape == (1, 192)
    assert (catalog.model_dir("demo-visual") / WEIGHTS).stat().st_size < 16e6


def test_unknown_names_and_precisions_are_refused():
    with pytest.raises(ModelError, match="demo-visual, dinov2b"):
        load_encoder(Encoder.parse("x"))
    with pytest.raises(ModelError, match="choose one of demo-visual"):
        catalog.row_of(VisualEntry, "x")
    with pytest.raises(JobError, match="precision must be one of"):
        load_encoder(Encoder.parse("dinov2b-random"), precision="int8")


def test_a_model_that_is_not_there_names_the_command(monkeypatch, tmp_path):
    monkeypatch.setenv(places.HOME_VARIABLE, str(tmp_path))
    with pytest.raises(ModelError, match="prelabel models fetch dinov2l"):
        load_encoder(Encoder.parse("dinov2l"))


def damage(folder, kind):
    state, config = load_file(folder / WEIGHTS), json.loads((folder / CONFIG).read_text())
    match kind:
        case "NaN":
            state["layernorm.weight"][3] = torch.nan
        case "infinity":
            state["encoder.layer.0.mlp.fc1.bias"][0] = torch.inf
        case "missing":
            del state["embeddings.position_embeddings"]
        case "size":
            state["layernorm.weight"] = torch.ones(7)
        case "other model":
            config["model_type"] = "bert"
        case "other shape":
            config["num_attention_heads"] = 3
        case "no type":
            del config["model_type"]
        case "list":
            config = [1]
    save_file(state, folder / WEIGHTS, {"format": "pt"})
    (folder / CONFIG).write_text(json.dumps(config))


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        ("NaN", "layernorm.weight holds values that are no numbers"),
        ("infinity", "no numbers"),
        ("missing", "position_embeddings is missing"),
        ("size", "layernorm.weight"),
        ("other model", "describes a bert, not a dinov2"),
        ("other shape", "instead of"),
        ("no type", "missing or broken"),
        ("list", "missing or broken"),
    ],
)
def test_damaged_folders_are_refused_in_one_sentence(folder, kind, sentence):
    damage(folder, kind)
    with pytest.raises(ModelError, match=sentence) as caught:
        load_encoder(Encoder.parse("tiny"))
    assert "fetch" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_truncated_and_foreign_weights_are_refused(folder):
    data = (folder / WEIGHTS).read_bytes()
    for bad in (data[: len(data) // 2], b"", b"\xff" * 64, b"\x00" * 7 + b"\x7f" + b"{}"):
        (folder / WEIGHTS).write_bytes(bad)
        with pytest.raises(ModelError, match="do not hold its weights"):
            load_encoder(Encoder.parse("tiny"))


@pytest.mark.usefixtures("folder")
def test_weights_of_another_checksum_are_refused(monkeypatch):
    pinned = VisualEntry(
        source="x", licence="none", sha256="0" * 64, side=48, patch=8, shape=(24, 2, 2)
    )
    monkeypatch.setattr(catalog, "MODELS", {"tiny": pinned})
    with pytest.raises(ChecksumMismatch, match="damaged"):
        load_encoder(Encoder.parse("tiny"))


def test_a_pickle_beside_the_configuration_is_not_opened(folder):
    (folder / WEIGHTS).rename(folder / "pytorch_model.bin")
    with pytest.raises(ModelError, match="not installed"):
        load_encoder(Encoder.parse("tiny"))


def test_fetching_goes_by_the_files_of_the_row(folder, monkeypatch):
    assert fetch("tiny") == folder  # all of it is there
    with pytest.raises(ModelError, match="random weights"):
        fetch("dinov2b-random")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(ModelError, match=r"127\.0\.0\.1"):
        fetch("dinov2l")
    parts = catalog.MODELS["llava-1.5-7b"].files
    assert parts[-1] == "model-00003-of-00003.safetensors"

"""The encoder without weights: what its rows tell, and that only their own image decides them."""

import numpy as np
import pytest
import torch

from napari_prelabel.methods import segments
from napari_prelabel.models import texture
from napari_prelabel.models.encoders import load_encoder
from napari_prelabel.models.texture import CHANNELS, Texture, describe, pool_rows
from napari_prelabel.values.encoder import Encoder
from napari_prelabel.values.errors import ImageError


def noise(shape=(33, 47), seed=0):
    return np.random.default_rng(seed).integers(0, 256, (*shape, 3), dtype=np.uint8)


def test_rows_are_mean_and_deviation_of_unit_length():
    rng = np.random.default_rng(1)
    channels = rng.normal(size=(7 * 9, 4)).astype(np.float16)
    labels = rng.integers(-1, 5, (7, 9))
    rows = pool_rows(channels, labels, 6)
    for number in range(5):
        part = channels[labels.ravel() == number].astype(np.float64)
        typed = np.concatenate([part.mean(0), part.std(0), [np.sqrt(8)]])
        np.testing.assert_allclose(rows[number], typed / np.linalg.norm(typed), atol=2e-4)
    np.testing.assert_allclose(rows[5], [0] * 8 + [1])
    assert rows.dtype == np.float32


def test_the_encoder_of_this_name_is_found_and_pools_its_own_pixels():
    encoder = load_encoder(Encoder.parse("texture"))
    image = noise()
    features = encoder.encode(image)
    assert tuple(features.grid) == (33, 47)
    assert features.tokens.shape == (33 * 47, CHANNELS)
    assert features.tokens.dtype == torch.float16
    labels = np.arange(33 * 47).reshape(33, 47) // 60
    rows = encoder.pool(features, labels)
    assert rows.shape == (26, encoder.width)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-6)
    with pytest.raises(ImageError, match="cut the same image"):
        encoder.pool(features, labels[:-1])


@pytest.mark.parametrize("shape", [(1, 1), (1, 600), (3, 2), (40, 17)])
@pytest.mark.parametrize("constant", [False, True])
def test_any_size_gives_finite_numbers(shape, constant):
    image = np.full((*shape, 3), 200, np.uint8) if constant else noise(shape)
    found = describe(image)
    assert found.shape == (*shape, CHANNELS)
    assert found.dtype == np.float32
    assert np.isfinite(found).all()
    assert np.abs(found).max() < 12


def test_a_constant_image_has_colour_and_nothing_else():
    found = describe(np.full((20, 30, 3), (200, 30, 30), np.uint8))
    np.testing.assert_allclose(found, np.broadcast_to(found[0, 0], found.shape), atol=1e-3)
    lab = found[0, 0, :3]
    for octave in found[0, 0, 6:].reshape(-1, 9):
        np.testing.assert_allclose(octave[:3], lab, atol=1e-3)
        np.testing.assert_allclose(octave[3:], 0, atol=1e-2)


def test_fine_and_coarse_stripes_are_told_apart():
    columns = np.arange(64)
    fine, coarse = (
        np.repeat(np.where(columns // n % 2, 160, 90).astype(np.uint8)[None], 64, 0) for n in (2, 8)
    )
    a, b = (describe(np.stack([g] * 3, -1)).mean((0, 1))[6:].reshape(-1, 9) for g in (fine, coarse))
    assert a[0, 3] > b[0, 3]
    assert a[3, 3] < b[3, 3]


def test_relative_channels_do_not_change_with_the_light():
    image = noise(seed=2) // 4 + 90
    bright = (image + 30).astype(np.uint8)
    a, b = describe(image.astype(np.uint8)), describe(bright)
    assert np.abs(a[..., 0] - b[..., 0]).mean() > 0.3
    assert np.abs(a[..., 3] - b[..., 3]).mean() < 0.1


def test_turning_the_image_turns_the_channels():
    image = noise((33, 49))
    turned = describe(image[::-1, ::-1].copy())[::-1, ::-1]
    np.testing.assert_allclose(turned[..., :15], describe(image)[..., :15], atol=1e-3)


@pytest.mark.parametrize(
    "image", [np.zeros((4, 5)), np.zeros((4, 5, 3)), np.zeros((0, 5, 3), "u1")]
)
def test_only_rgb_images_of_bytes_are_taken(image):
    with pytest.raises(ImageError, match="convert it first"):
        describe(image)


def test_the_name_of_the_numbers_is_fixed():
    assert Texture().digest == Texture().digest
    assert Texture().width == 2 * CHANNELS + 1


def test_a_large_image_is_described_shrunk_and_small_segments_keep_a_row(monkeypatch):
    monkeypatch.setattr(texture, "LARGEST_AREA", 40 * 50)
    rng = np.random.default_rng(5)
    image = rng.integers(0, 255, (120, 150, 3), np.uint8)
    encoder = Texture()
    features = encoder.encode(image)
    assert features.grid == (40, 50)
    labels = np.zeros((120, 150), np.int64)
    labels[60:] = 1
    labels[1, 1] = 2  # falls between the samples
    rows = encoder.pool(features, labels, 3)
    assert rows.shape == (3, encoder.width)
    assert np.abs(rows[2] - rows[0]).max() > 1e-3
    with pytest.raises(ImageError, match="do not fit"):
        encoder.pool(features, labels[:100], 3)


def test_images_are_shrunk_as_segments_are_cut():
    assert texture.LARGEST_AREA == segments.LARGEST_AREA
    assert texture.grid_of(4000, 6000) == (836, 1254)
    assert texture.grid_of(300, 200) == (300, 200)

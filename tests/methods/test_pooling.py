"""Mask average pooling against F.interpolate and a plain NumPy float64 re-typing."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from napari_prelabel.methods.pooling import EPS, LEAST_WEIGHT, pool, segment_weights, soft_masks

SIZES = [((57, 91), (7, 13)), ((5, 3), (9, 11)), ((40, 40), (37, 37)), ((1, 50), (4, 4))]


def random_labels(size, count, seed=0):
    return torch.as_tensor(np.random.default_rng(seed).integers(-1, count, size))


@pytest.mark.parametrize(("size", "grid"), [*SIZES, ((30, 20), (1, 6))])
def test_labels_and_masks_resize_as_interpolate_does(size, grid):
    labels = random_labels(size, 5)
    masks = torch.stack([labels == i for i in range(5)])
    expected = F.interpolate(masks[None].float(), grid, mode="bilinear", align_corners=True)
    expected = expected[0].flatten(1)
    torch.testing.assert_close(soft_masks(labels, 5, grid), expected, atol=2e-6, rtol=0)
    torch.testing.assert_close(soft_masks(masks, 5, grid), expected, atol=2e-6, rtol=0)


def test_overlapping_masks_each_keep_all_their_pixels():
    masks = torch.ones(2, 12, 9, dtype=torch.bool)
    masks[1, :, 5:] = False
    weights = soft_masks(masks, 2, (3, 3))
    assert (weights[0] == 1).all()
    assert weights[1].reshape(3, 3)[:, 0].eq(1).all()
    assert weights[1].reshape(3, 3)[:, 2].eq(0).all()


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int64])
def test_ids_outside_the_count_are_no_segment(dtype):
    labels = torch.full((6, 6), 7, dtype=dtype)
    assert soft_masks(labels, 3, (2, 2)).eq(0).all()


def test_a_segment_between_sample_points_takes_the_token_nearest_to_its_centroid():
    labels = torch.zeros(100, 80, dtype=torch.int64)
    labels[48, 23] = 1  # (48 / 99 · 3, 23 / 79 · 4) = (1.45, 1.16): row 1, column 1 of (4, 5)
    weights = segment_weights(labels, 2, (4, 5))
    assert soft_masks(labels, 2, (4, 5))[1].sum() < LEAST_WEIGHT
    assert weights[1].nonzero().flatten().tolist() == [1 * 5 + 1]
    masks = torch.stack([labels == 0, labels == 1])
    torch.testing.assert_close(segment_weights(masks, 2, (4, 5)), weights)


def test_an_id_without_pixels_is_finite_and_in_the_middle():
    labels = torch.zeros(9, 9, dtype=torch.int64)
    weights = segment_weights(labels, 2, (3, 3))
    assert weights[1].argmax() == 4
    masks = torch.zeros(1, 9, 9, dtype=torch.bool)
    assert segment_weights(masks, 1, (3, 3))[0].argmax() == 4


def test_pool_against_plain_float64():
    rng = np.random.default_rng(3)
    tokens, weights = rng.normal(size=(35, 12)), rng.uniform(size=(4, 35))
    expected = np.stack([(w[:, None] * tokens).sum(0) / (w.sum() + EPS) for w in weights])
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    found = pool(torch.as_tensor(tokens), torch.as_tensor(weights))
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-6)


def test_pool_of_nothing_is_zero_and_finite():
    assert pool(torch.zeros(6, 4), torch.ones(2, 6)).eq(0).all()
    assert pool(torch.ones(6, 4), torch.zeros(2, 6)).isfinite().all()

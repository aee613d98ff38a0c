"""The guided filter against its equations in float64, pixel by pixel."""

import nerve_reference as plain
import numpy as np
import pytest

from napari_prelabel.methods.sharpen import resized, sharpen


def window(x, y, radius):
    """Values (..., n) of the window around every pixel, mirrored at the border."""
    pad = [(0, 0)] * (x.ndim - 2) + [(radius, radius)] * 2
    x = np.pad(x, pad, "symmetric")
    side = 2 * radius + 1
    return np.stack([
        x[..., i : i + y[0], j : j + y[1]] for i in range(side) for j in range(side)
    ], -1)  # fmt: skip


def coefficients(p, guide, radius):
    """He, Sun, Tang, equations 14 to 16 with epsilon 0.001: a (3, h, w) and b (h, w)."""
    size = p.shape
    a, b = np.zeros((3, *size)), np.zeros(size)
    colours, values = window(guide, size, radius), window(p, size, radius)
    for i in range(size[0]):
        for j in range(size[1]):
            c, v = colours[:, i, j], values[i, j]
            spread = np.cov(c, bias=True) + 0.001 * np.eye(3)
            a[:, i, j] = np.linalg.solve(spread, (c * v).mean(1) - c.mean(1) * v.mean())
            b[i, j] = v.mean() - a[:, i, j] @ c.mean(1)
    return window(a, size, radius).mean(-1), window(b, size, radius).mean(-1)


@pytest.mark.parametrize(("token", "step", "radius"), [(1, 1, 1), (2.6, 1, 3), (9, 2, 4)])
def test_the_filter_is_that_of_the_paper(token, step, radius):
    rng = np.random.default_rng(3)
    image = rng.integers(0, 256, (14, 18, 3), np.uint8)
    p = rng.random((2, 14, 18)).astype(np.float32)
    guide = image.transpose(2, 0, 1) / 255
    small = (14 // step, 18 // step)
    found = sharpen(p, image, token)
    np.testing.assert_allclose(sharpen(p, image / 255, token), found, atol=1e-5)
    for map_, got in zip(p, found, strict=True):
        low = [resized(x[None].astype(np.float32), small)[0] for x in (map_, *guide)]
        a, b = coefficients(low[0].astype(np.float64), np.stack(low[1:]).astype(float), radius)
        up = [plain.interpolate(x, (14, 18)) for x in (*a, b)]
        want = sum(x * g for x, g in zip(up[:3], guide, strict=True)) + up[3]
        np.testing.assert_allclose(got, want, atol=1e-4)


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (300, 1), (5, 3)])
@pytest.mark.parametrize("token", [0.3, 7, 90])
def test_small_thin_and_even_images_keep_an_even_map(shape, token):
    image = np.random.default_rng(4).integers(0, 256, (*shape, 3), np.uint8)
    even = np.full((1, *shape), 0.3, np.float32)
    np.testing.assert_allclose(sharpen(even, image, token), 0.3, atol=1e-5)
    rough = np.random.default_rng(5).random((1, *shape)).astype(np.float32)
    assert np.isfinite(sharpen(rough, np.zeros_like(image), token)).all()

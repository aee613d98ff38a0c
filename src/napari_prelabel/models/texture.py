"""An encoder without weights: colour, edges and texture of every pixel at several scales.

Nothing is learned and nothing fetched, so reference sets work on any picture offline. A pixel is
told by Lab colour, gradients, second derivatives, local contrast and orientedness in octaves from
one pixel up; a segment by the mean and the deviation of these over its pixels.
"""

import hashlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Picture
from scipy import ndimage, sparse
from skimage.color import rgb2lab

from ..values.errors import ImageError

if TYPE_CHECKING:
    from .visual import Features, Labels

Map = NDArray[np.float32]

NAME = "texture"
# As methods.segments.LARGEST_AREA: larger images are looked at shrunk to about so many pixels.
LARGEST_AREA = 1024 * 1024
VERSION = 1
OCTAVES = 6
# Lab is divided by these, about the deviation of lightness and of colour in photographs; local
# measures in the same units go through log(1 + x / _FLOOR), _FLOOR about what noise alone gives.
_LIGHT, _COLOUR = 25.0, 20.0
_FLOOR = 0.04
_PER_OCTAVE = 9
_PLAIN = 6
CHANNELS = _PLAIN + _PER_OCTAVE * OCTAVES


class Texture:
    """The encoder `texture` (see models.visual.VisualEncoder).

    width : mean and deviation of every channel, and a constant, so that a row of length 1 still
        tells a flat segment from a busy one.
    """

    name = NAME
    width = 2 * CHANNELS + 1
    digest = hashlib.sha256(f"{NAME} {VERSION} {OCTAVES}".encode()).hexdigest()

    def encode(self, image: NDArray[np.uint8]) -> "Features":
        """Channels of every pixel of an image (H, W, 3) uint8: tokens (h · w, CHANNELS) float16
        on a grid of the image's own size, or of `LARGEST_AREA` pixels where it is larger, which
        is what segments are cut from as well. ImageError for anything else."""
        import torch

        from .visual import Features

        found = describe(_shrunk(image))
        tokens = found.reshape(-1, found.shape[2]).astype(np.float16)
        return Features(torch.from_numpy(tokens), found.shape[:2])

    def pool(self, features: "Features", segments: "Labels", count: int | None = None) -> Map:
        """Unit rows (count, width) float32 of segments of the image.

        segments : labels (H, W) of an integer type on the image's own pixels, ids 0..count - 1,
            every other id no segment. ImageError for labels of another shape.
        """
        labels = np.asarray(segments)
        if labels.ndim == 2 and labels.size and grid_of(*labels.shape) == tuple(features.grid):
            labels = _sampled(labels, features.grid)
        if labels.shape != tuple(features.grid):
            raise ImageError(
                f"Segments of {labels.shape} pixels do not fit features of "
                f"{tuple(features.grid)}: cut the same image."
            )
        return pool_rows(features.tokens.numpy(), labels, count)


def grid_of(height: int, width: int) -> tuple[int, int]:
    """Sides that an image is described at: its own, or those of `LARGEST_AREA` pixels."""
    if height * width <= LARGEST_AREA:
        return height, width
    share = (LARGEST_AREA / (height * width)) ** 0.5
    return max(1, round(height * share)), max(1, round(width * share))


def _shrunk(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    if image.ndim != 3 or image.dtype != np.uint8 or image.shape[0] * image.shape[1] == 0:
        return image  # which `describe` refuses
    height, width = grid_of(image.shape[0], image.shape[1])
    if (height, width) == image.shape[:2]:
        return image
    box = Picture.Resampling.BOX
    return np.asarray(Picture.fromarray(image).resize((width, height), box))


def _sampled(labels: NDArray[np.integer[Any]], grid: tuple[int, int]) -> NDArray[np.integer[Any]]:
    """Labels on the grid by the nearest pixel; a segment that falls between keeps one place."""
    if labels.shape == tuple(grid):
        return labels
    rows = (np.arange(grid[0]) * 2 + 1) * labels.shape[0] // (2 * grid[0])
    columns = (np.arange(grid[1]) * 2 + 1) * labels.shape[1] // (2 * grid[1])
    small: NDArray[np.integer[Any]] = labels[rows[:, None], columns].copy()
    ids, first = np.unique(labels, return_index=True)
    lost = ~np.isin(ids, small)
    y, x = np.divmod(first[lost], labels.shape[1])
    small[y * grid[0] // labels.shape[0], x * grid[1] // labels.shape[1]] = ids[lost]
    return small


def pool_rows(
    channels: NDArray[np.floating[Any]], labels: NDArray[np.integer[Any]], count: int | None = None
) -> Map:
    """Mean and deviation of channels (N, F) under labels of N pixels, as unit rows (count, 2F + 1).

    A segment without pixels has a row as if all its channels were 0.
    """
    flat = labels.ravel()
    count = max(int(flat.max()) + 1, 0) if count is None else count
    at = np.flatnonzero((flat >= 0) & (flat < count))
    ids = flat[at]
    areas = np.maximum(np.bincount(ids, minlength=count), 1).astype(np.float32)
    order = np.argsort(ids, kind="stable")
    starts = np.concatenate([[0], np.cumsum(np.bincount(ids, minlength=count))])
    member = sparse.csr_array(
        (np.ones(len(at), np.float32), np.arange(len(at)), starts), shape=(count, len(at))
    )
    values = channels[at[order]].astype(np.float32)
    mean = (member @ values) / areas[:, None]
    square = (member @ (values * values)) / areas[:, None]
    deviation = np.sqrt(np.maximum(square - mean * mean, 0))
    constant = np.full((count, 1), np.sqrt(2 * channels.shape[1]), np.float32)
    rows = np.concatenate([mean, deviation, constant], axis=1)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows, np.float32)


def describe(image: NDArray[np.uint8]) -> Map:
    """(H, W, CHANNELS) float32 of an image (H, W, 3) uint8, each channel about -4..4.

    First Lab itself and Lab against the image's own median and spread, which does not change
    with the light; then per octave Lab, the gradients of lightness and of colour, mean and
    difference of the principal curvatures, the deviation of lightness, and how much of the
    gradient has one direction.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise ImageError(
            "The texture encoder takes an image (height, width, 3) of uint8, not "
            f"{image.shape} {image.dtype}: convert it first."
        )
    scale = np.array([_LIGHT, _COLOUR, _COLOUR], np.float32)[:, None, None]
    lab = np.moveaxis(rgb2lab(image), 2, 0).astype(np.float32) / scale
    lab[0] -= 50 / _LIGHT
    height, width = image.shape[:2]
    out = np.empty((CHANNELS, height, width), np.float32)
    out[:3] = lab
    out[3:_PLAIN] = _relative(lab)
    for number, octave in enumerate(_octaves(lab)):
        first = _PLAIN + number * _PER_OCTAVE
        rows = _interpolation(height, octave.shape[1], 2**number)
        columns = _interpolation(width, octave.shape[2], 2**number)
        here = _measures(octave)
        out[first : first + _PER_OCTAVE] = here if number == 0 else rows @ here @ columns.T
    return np.ascontiguousarray(np.moveaxis(out, 0, 2))


def _relative(lab: Map) -> Map:
    """Lab (3, H, W) against the image's median, in units of its own median deviation."""
    middle = np.median(lab, axis=(1, 2), keepdims=True)
    spread = 1.4826 * np.median(np.abs(lab - middle), axis=(1, 2), keepdims=True)
    return np.asarray(np.clip((lab - middle) / (spread + 4 * _FLOOR), -4, 4), np.float32)


def _octaves(lab: Map) -> Iterator[Map]:
    """Lab (3, h, w) blurred by about one pixel, at every size halved from the image's own."""
    now = _blurred(lab, 0.8)
    for _ in range(OCTAVES):
        yield now
        # From one pixel's blur to two, which is one again when every second pixel is left out.
        now = _blurred(now, 1.6)[:, ::2, ::2]


def _measures(lab: Map) -> Map:
    """(9, h, w) local measures of one octave."""
    dy, dx = (_derivative(lab, axis) for axis in (1, 2))
    light_y, light_x = dy[0], dx[0]
    dyy, dxx = _derivative(light_y, 0), _derivative(light_x, 1)
    dxy = _derivative(light_y, 1)
    mean = (dyy + dxx) / 2
    apart = np.hypot((dyy - dxx) / 2, dxy)
    light = lab[0]
    deviation = np.sqrt(np.maximum(_blurred(light**2, 2.0) - _blurred(light, 2.0) ** 2, 0))
    yy, xx, xy = (_blurred(a, 2.0) for a in (light_y**2, light_x**2, light_y * light_x))
    oriented = np.hypot(yy - xx, 2 * xy) / (yy + xx + _FLOOR**2)
    return np.stack(
        [
            *lab,
            _squeezed(np.hypot(light_y, light_x)),
            _squeezed(np.sqrt(dy[1] ** 2 + dx[1] ** 2 + dy[2] ** 2 + dx[2] ** 2)),
            np.sign(mean) * _squeezed(np.abs(mean)),
            _squeezed(apart),
            _squeezed(deviation),
            2 * oriented,
        ]
    )


def _squeezed(size: Map) -> Map:
    return np.asarray(np.log1p(size / _FLOOR), np.float32)


def _blurred(planes: Map, sigma: float) -> Map:
    for axis in (-2, -1):
        planes = ndimage.gaussian_filter1d(planes, sigma, axis=axis, mode="nearest", truncate=3.0)
    return planes


def _derivative(planes: Map, axis: int) -> Map:
    found: Map = ndimage.correlate1d(
        planes, np.array([-0.5, 0, 0.5], np.float32), axis=axis, mode="nearest"
    )
    return found


def _interpolation(length: int, samples: int, step: int) -> Map:
    """(length, samples): linear between samples that lie at 0, step, 2 step ... of a line."""
    at = np.minimum(np.arange(length) / step, samples - 1)
    first = np.minimum(at.astype(int), max(samples - 2, 0))
    part = (at - first).astype(np.float32)
    out = np.zeros((length, samples), np.float32)
    rows = np.arange(length)
    out[rows, first] = 1 - part
    if samples > 1:
        out[rows, first + 1] = part
    return out

"""Pairs of views of one place: cut, flipped, stretched, recoloured; and boxes that both show.

No label and no caption is read: scenes enter as pixels alone.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

PAIRS = {48: 64, 64: 32, 96: 14, 128: 8}
"""View side in pixels -> pairs per step (about equal cost)."""

MIX = {
    "early": {48: 0.5, 64: 0.5},
    "middle": {48: 0.2, 64: 0.5, 96: 0.25, 128: 0.05},
    "late": {64: 0.4, 96: 0.35, 128: 0.25},
}
ZOOM = (0.55, 1.7)
"""Scene pixels per view pixel, drawn log-uniformly for each view."""

BOXES = 8
PLACES, PLAIN_SHARE, _AFAR = 4, 0.3, 8
"""Places to choose from, share of views that take the first, reduction to look from afar."""

MASKED_SHARE = (0.15, 0.45)

# From RGB to luma and two chroma axes, in which hue is an angle (YIQ, ITU-R BT.601 luma).
_YIQ = torch.tensor([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])
Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Pair:
    """Two views of each of B places.

    Attributes
    ----------
    images : two of (B, 3, S, S) float32 in [0, 1]
    boxes : two of (B, BOXES, 4) float32: y0, x0, y1, x1 of the same places in each view's own
        coordinates, 0 .. 1; where a view is flipped, x0 > x1
    masked : two of (B, (S / patch)²) bool, tokens that are hidden from the model
    """

    images: tuple[Tensor, Tensor]
    boxes: tuple[Tensor, Tensor]
    masked: tuple[Tensor, Tensor]


def view_side(rng: np.random.Generator, done: float) -> int:
    """View side for a step, by the fraction of the training already done."""
    mix = MIX["early" if done < 0.15 else "middle" if done < 0.5 else "late"]
    return int(rng.choice(list(mix), p=list(mix.values())))


class ViewSource:
    """Draws pairs of views from scenes (N, 256, 256, 3) uint8."""

    def __init__(self, images: NDArray[np.uint8], patch: int) -> None:
        self.images = images
        self.patch = patch

    def pairs(self, rng: np.random.Generator, side: int, count: int | None = None) -> Pair:
        """A batch of pairs that depends on the generator's state alone."""
        count = count or PAIRS[side]
        pixels = np.empty((2, count, side, side, 3), np.uint8)
        boxes = np.empty((2, count, BOXES, 4), np.float32)
        for i, index in enumerate(rng.integers(len(self.images), size=count)):
            scene = Image.fromarray(self.images[index])
            first, second = self._overlapping(rng, side, _place(rng, scene, side))
            shared = _shared_boxes(rng, first, second, self.patch / side)
            for j, box in enumerate((first, second)):
                top, left, bottom, right = box
                cut = scene.resize(
                    (side, side), Image.Resampling.BILINEAR, (left, top, right, bottom)
                )
                flip = bool(rng.random() < 0.5)
                pixels[j, i] = np.asarray(cut)[:, :: -1 if flip else 1]
                boxes[j, i] = _in_view(shared, box, flip)
        generator = torch.Generator().manual_seed(int(rng.integers(2**31)))
        images = [_recoloured(torch.from_numpy(p), generator) for p in pixels]
        masked = [_masks(rng, count, side // self.patch) for _ in range(2)]
        places = torch.from_numpy(boxes)
        return Pair((images[0], images[1]), (places[0], places[1]), (masked[0], masked[1]))

    def _overlapping(
        self, rng: np.random.Generator, side: int, centre: tuple[float, float]
    ) -> tuple[Box, Box]:
        limit = float(self.images.shape[1])
        sizes = np.exp(rng.uniform(math.log(ZOOM[0]), math.log(ZOOM[1]), size=2)) * side
        stretch = np.exp(rng.uniform(-0.25, 0.25, size=2))
        heights = np.minimum(sizes * stretch, limit)
        widths = np.minimum(sizes / stretch, limit)
        cy, cx = centre
        found = []
        for height, width in zip(heights, widths, strict=True):
            # Centres at most a quarter of the smaller side apart, so that the views overlap.
            dy, dx = rng.uniform(-0.125, 0.125, size=2) * (min(heights), min(widths))
            top = float(np.clip(cy + dy - height / 2, 0, limit - height))
            left = float(np.clip(cx + dx - width / 2, 0, limit - width))
            found.append((top, left, top + height, left + width))
        return found[0], found[1]


def _place(rng: np.random.Generator, scene: Image.Image, side: int) -> tuple[float, float]:
    """A random centre (y, x); in most views the place of several that varies most from afar.

    Seen from afar textures vanish, so things and borders are met more often than their area.
    """
    limit = scene.size[0]
    places = rng.uniform(0.0, limit, size=(PLACES, 2))
    if rng.random() < PLAIN_SHARE:
        return float(places[0, 0]), float(places[0, 1])
    afar = np.asarray(scene.reduce(_AFAR), np.float32)
    reach = max(side // (2 * _AFAR), 2)
    varied = []
    for y, x in (places / _AFAR).astype(int):
        part = afar[max(y - reach, 0) : y + reach, max(x - reach, 0) : x + reach]
        varied.append(float(part.std(axis=(0, 1)).sum()))
    best = places[int(np.argmax(varied))]
    return float(best[0]), float(best[1])


def _shared_boxes(
    rng: np.random.Generator, first: Box, second: Box, least: float
) -> NDArray[np.float64]:
    """Random boxes (BOXES, 4) inside what both views show, in scene pixels."""
    low = np.maximum(first[:2], second[:2])
    high = np.minimum(first[2:], second[2:])
    span = high - low
    smallest = least * max(first[2] - first[0], second[2] - second[0])
    largest = float(span.min())
    sizes = np.exp(
        rng.uniform(math.log(min(smallest, largest)), math.log(largest), size=(BOXES, 1))
    )
    corner = low + rng.uniform(size=(BOXES, 2)) * (span - sizes)
    return np.concatenate([corner, corner + sizes], axis=1)


def _in_view(boxes: NDArray[np.float64], view: Box, flip: bool) -> NDArray[np.float64]:
    top, left, bottom, right = view
    scale = np.asarray([bottom - top, right - left] * 2)
    own: NDArray[np.float64] = (boxes - np.asarray([top, left] * 2)) / scale
    if flip:
        own[:, [1, 3]] = 1 - own[:, [1, 3]]
    return own


def _recoloured(pixels: Tensor, generator: torch.Generator) -> Tensor:
    """(B, S, S, 3) uint8 under another light, hue, contrast and focus: (B, 3, S, S) in [0, 1]."""
    count = len(pixels)

    def uniform(low: float, high: float) -> Tensor:
        return torch.empty(count, 1, 1, 1).uniform_(low, high, generator=generator)

    def chance(share: float) -> Tensor:
        return torch.rand(count, 1, 1, 1, generator=generator) < share

    x = pixels.permute(0, 3, 1, 2).float() / 255
    x = x.pow(torch.exp(uniform(-0.5, 0.5)))
    wide, narrow = uniform(-math.pi, math.pi), uniform(-0.4, 0.4)
    angle = torch.where(chance(0.5), wide, narrow).flatten()
    saturation = torch.where(chance(0.15), torch.tensor(0.0), uniform(0.4, 1.6)).flatten()
    x = torch.einsum("bij,bjhw->bihw", _colour_matrix(angle, saturation), x)
    mean = x.mean(dim=(1, 2, 3), keepdim=True)
    x = (x - mean) * uniform(0.6, 1.4) + mean + uniform(-0.15, 0.15)
    soft = F.avg_pool2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    x = torch.lerp(x, soft, chance(0.3) * uniform(0.2, 1.0))
    noise = torch.randn(x.shape, generator=generator) * chance(0.3) * uniform(0.0, 0.04)
    return (x + noise).clamp_(0, 1)


def _colour_matrix(angle: Tensor, saturation: Tensor) -> Tensor:
    """(B, 3, 3): turns the hue by an angle and scales the chroma of RGB columns."""
    turn = torch.zeros(len(angle), 3, 3)
    turn[:, 0, 0] = 1
    turn[:, 1, 1] = turn[:, 2, 2] = saturation * angle.cos()
    turn[:, 2, 1] = saturation * angle.sin()
    turn[:, 1, 2] = -turn[:, 2, 1]
    matrix: Tensor = torch.linalg.inv(_YIQ) @ turn @ _YIQ
    return matrix


def _masks(rng: np.random.Generator, count: int, grid: int) -> Tensor:
    """One rectangle of hidden tokens in half of the views: (B, grid²) bool."""
    hidden = np.zeros((count, grid, grid), np.bool_)
    for i in np.flatnonzero(rng.random(count) < 0.5):
        area = rng.uniform(*MASKED_SHARE) * grid * grid
        rows = int(np.clip(round(math.sqrt(area * math.exp(rng.uniform(-0.7, 0.7)))), 1, grid))
        cols = int(np.clip(round(area / rows), 1, grid))
        top, left = rng.integers(grid - rows + 1), rng.integers(grid - cols + 1)
        hidden[i, top : top + rows, left : left + cols] = True
    return torch.from_numpy(hidden.reshape(count, -1))

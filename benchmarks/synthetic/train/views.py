"""Segments seen twice: where they stand, and cut out and pasted on foreign ground.

No label and no caption is read: scenes and their segments enter as pixels alone.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from .proposals import CUTS, Proposals

CELL = 64
"""A canvas holds one pasted segment per square of this side in pixels."""

SEEN = {128: 8, 192: 16}
"""View side in pixels -> segments described of each view."""

LARGER_FROM, LARGER_SHARE = 0.7, 0.2
"""Share of the training after which this share of steps takes the larger views."""

SEGMENTS = 48
"""Segments per step."""

ZOOM = (0.55, 1.7)
"""Scene pixels per view pixel, drawn log-uniformly for each view and each pasted segment."""

FITTED, FARTHEST = 0.5, 2.5
"""Share of pasted segments that are shrunk until they fit whole, by this zoom at most."""

LEAST_TOKENS = 1.5
_JITTER, _SMALLEST, _FINE = 12, 12, 4

# From RGB to luma and two chroma axes, in which hue is an angle (YIQ, ITU-R BT.601 luma).
_YIQ = torch.tensor([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])
Bytes = NDArray[np.uint8]
Key = tuple[int, int, int]
Window = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Batch:
    """P segments, each in a view of its own scene and in a canvas.

    Attributes
    ----------
    images : (B, 3, S, S) float32 in [0, 1], views and canvases
    owner : (2 · P,) int64 image of each segment, first in the views, then in the canvases
    weights : (2 · P, (S / patch)²) float32 in [0, 1], share of each token that the segment covers
    """

    images: Tensor
    owner: Tensor
    weights: Tensor


def view_side(rng: np.random.Generator, done: float) -> int:
    """View side for a step, by the fraction of the training already done."""
    small, large = SEEN
    return large if done >= LARGER_FROM and rng.random() < LARGER_SHARE else small


class ViewSource:
    """Draws batches from scenes (N, 256, 256, 3) uint8 and their segments."""

    def __init__(self, images: Bytes, proposals: Proposals, patch: int) -> None:
        self.images, self.proposals, self.patch = images, proposals, patch
        self.scale = images.shape[1] / proposals.labels.shape[2]
        rows = proposals.rows
        self.boxes = {(int(r[0]), int(r[1]), int(r[2])): r[3:] for r in rows}
        self.by_cut = [c for c in (rows[rows[:, 1] == cut] for cut in range(CUTS)) if len(c)]

    def batch(self, rng: np.random.Generator, side: int, segments: int | None = None) -> Batch:
        """A batch that depends on the generator's state alone."""
        segments = segments or SEGMENTS
        views: list[Bytes] = []
        keys: list[Key] = []
        owner: list[int] = []
        weights: list[NDArray[np.float32]] = []
        while len(keys) < segments:
            view, found = self._view(rng, side)
            for key, share in list(found.items())[: segments - len(keys)]:
                keys.append(key)
                owner.append(len(views))
                weights.append(share)
            views.append(view)
        generator = torch.Generator().manual_seed(int(rng.integers(2**31)))
        seen = _recoloured(torch.from_numpy(np.stack(views)), generator)
        canvases, at, covered = self._canvases(rng, side, keys, generator)
        return Batch(
            torch.cat([seen, canvases]),
            torch.cat([torch.as_tensor(owner), at + len(views)]),
            torch.cat([torch.from_numpy(np.stack(weights)), covered]),
        )

    def _view(
        self, rng: np.random.Generator, side: int
    ) -> tuple[Bytes, dict[Key, NDArray[np.float32]]]:
        """A cut of a scene around a segment, and what it shows: segment -> share of tokens."""
        rows = self.by_cut[int(rng.integers(len(self.by_cut)))]
        scene, _, _, *box = rows[int(rng.integers(len(rows)))].tolist()
        limit = self.images.shape[1]
        zoom, stretch = math.exp(rng.uniform(*np.log(ZOOM))), math.exp(rng.uniform(-0.2, 0.2))
        size = np.minimum(side * zoom * np.asarray([stretch, 1 / stretch]), limit)
        centre = np.asarray([rng.uniform(box[0], box[2]), rng.uniform(box[1], box[3])]) * self.scale
        top, left = np.clip(centre - size / 2 + rng.uniform(-0.2, 0.2, 2) * size, 0, limit - size)
        window = (float(left), float(top), float(left + size[1]), float(top + size[0]))
        flip = -1 if rng.random() < 0.5 else 1
        view = Image.fromarray(self.images[scene]).resize(
            (side, side), Image.Resampling.BILINEAR, window
        )
        found = self._shown(rng, scene, window, side)
        if flip < 0:
            grid = side // self.patch
            found = {k: v.reshape(grid, grid)[:, ::-1].ravel() for k, v in found.items()}
        return np.asarray(view)[:, ::flip], found

    def _shown(
        self, rng: np.random.Generator, scene: int, window: Window, side: int
    ) -> dict[Key, NDArray[np.float32]]:
        """Segments in a window, whole things first, none of them told twice by two cuts."""
        grid = side // self.patch
        found: dict[Key, NDArray[np.float32]] = {}
        for cut in reversed(range(CUTS)):
            labels = Image.fromarray(self.proposals.labels[scene, cut]).resize(
                (grid * _FINE,) * 2, Image.Resampling.NEAREST, self._scaled(window)
            )
            blocks = np.asarray(labels).reshape(grid, _FINE, grid, _FINE)
            ids, counts = np.unique(blocks, return_counts=True)
            ids = ids[(counts >= LEAST_TOKENS * _FINE**2) & (ids > 0)]
            for number in rng.permutation(ids).tolist():
                share = (blocks == number).mean(axis=(1, 3), dtype=np.float32).ravel()
                if len(found) < SEEN[side] and not any(_alike(share, o) for o in found.values()):
                    found[scene, cut, number] = share
        return found

    def _piece(self, rng: np.random.Generator, key: Key) -> tuple[Bytes, Bytes]:
        """A segment, or a part of it, on a square of CELL pixels: colours and coverage."""
        scene, cut, number = key
        inside = self.proposals.labels[scene, cut] == number
        low, span, zoom = self._part(rng, inside, self.boxes[key] * self.scale)
        stretch = np.exp(rng.uniform(-0.15, 0.15) * np.asarray([1, -1]))
        height, width = np.clip(np.rint(span / zoom * stretch), _SMALLEST, CELL).astype(int)
        window = (*low[::-1].tolist(), *(low + span)[::-1].tolist())
        colours = Image.fromarray(self.images[scene]).resize(
            (width, height), Image.Resampling.BILINEAR, window
        )
        mask = Image.fromarray(np.where(inside, np.uint8(255), np.uint8(0))).resize(
            (width, height), Image.Resampling.BILINEAR, self._scaled(window)
        )
        flip = -1 if rng.random() < 0.5 else 1
        top, left = (CELL - height) // 2, (CELL - width) // 2
        pixels, cover = np.zeros((CELL, CELL, 3), np.uint8), np.zeros((CELL, CELL), np.uint8)
        pixels[top : top + height, left : left + width] = np.asarray(colours)[:, ::flip]
        cover[top : top + height, left : left + width] = np.asarray(mask)[:, ::flip]
        return pixels, cover

    def _part(
        self, rng: np.random.Generator, inside: NDArray[np.bool_], box: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
        """What of a segment is pasted: corner and span (y, x) in scene pixels, and the zoom."""
        low, span = box[:2], box[2:] - box[:2]
        zoom = math.exp(rng.uniform(*np.log(ZOOM)))
        if rng.random() < FITTED:
            whole = float(span.max()) / (CELL * rng.uniform(0.5, 1.0))
            zoom = float(np.clip(whole, ZOOM[0], FARTHEST))
        if span.max() <= CELL * zoom:
            return low, span, zoom
        places = np.argwhere(inside)
        middle = places[int(rng.integers(len(places)))] * self.scale
        extent = np.minimum(span, CELL * zoom)
        return np.clip(middle - extent / 2, low, box[2:] - extent), extent, zoom

    def _scaled(self, window: Window) -> Window:
        """A window of a scene in pixels of its segments."""
        left, top, right, bottom = (v / self.scale for v in window)
        return left, top, right, bottom

    def _canvases(
        self, rng: np.random.Generator, side: int, keys: list[Key], generator: torch.Generator
    ) -> tuple[Tensor, Tensor, Tensor]:
        """All segments pasted on cuts of other scenes: canvases, owner and share of tokens."""
        pieces = [self._piece(rng, key) for key in keys]
        colours = _recoloured(torch.from_numpy(np.stack([p for p, _ in pieces])), generator)
        cover = torch.from_numpy(np.stack([c for _, c in pieces])).float() / 255
        cells = (side // CELL) ** 2
        count = -(-len(keys) // cells)
        ground = np.stack([self._ground(rng, side) for _ in range(count)])
        canvases = _recoloured(torch.from_numpy(ground), generator)
        owner = torch.empty(len(keys), dtype=torch.int64)
        alpha = torch.zeros(len(keys), side, side)
        held: list[list[int]] = [[] for _ in range(count)]
        for place, piece in enumerate(rng.permutation(len(keys)).tolist()):
            on, cell = place % count, place // count
            corner = np.asarray(divmod(cell, side // CELL)) * CELL
            y, x = np.clip(corner + rng.integers(-_JITTER, _JITTER + 1, 2), 0, side - CELL)
            at = np.s_[..., y : y + CELL, x : x + CELL]
            canvases[on][at] = torch.lerp(canvases[on][at], colours[piece], cover[piece])
            for earlier in held[on]:
                alpha[earlier][at] *= 1 - cover[piece]
            held[on].append(piece)
            owner[piece] = on
            alpha[piece][at] = cover[piece]
        return canvases, owner, F.avg_pool2d(alpha, self.patch).flatten(1)

    def _ground(self, rng: np.random.Generator, side: int) -> Bytes:
        """A square cut of any scene."""
        limit = self.images.shape[1]
        size = min(side * math.exp(rng.uniform(*np.log(ZOOM))), limit)
        top, left = rng.uniform(0, limit - size, 2)
        scene = Image.fromarray(self.images[int(rng.integers(len(self.images)))])
        window = (left, top, left + size, top + size)
        return np.asarray(scene.resize((side, side), Image.Resampling.BILINEAR, window))


def _alike(one: NDArray[np.float32], two: NDArray[np.float32]) -> bool:
    """Whether half of what either covers is covered by both."""
    return float(np.minimum(one, two).sum()) > 0.5 * float(np.maximum(one, two).sum())


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

"""Which heads of a diffusion model tell regions apart: ``train diffusion-heads``.

Pairs of pixels of validation scenes, scored by the attention from one's token to the other's, so
that layers of all resolutions and images of all sides stand beside each other and beside colour.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from napari_prelabel.models.denoising import Diffusion, HeadMaps

from ..colour_auc import auc
from ..scenes import Scene, scene, scene_size, split_seeds

ANCHORS, OTHERS = 64, 128
Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class HeadScore:
    """How well one row of scores separates pairs of one label from pairs of two.

    side, timestep : pixels that images are squashed to, and of the noise.
    layer : name of the layer; "colour" is plain distance of RGB values; "chance" is no score.
    head : number of the head, or "mean" over the layer's heads.
    auc, precision : area under the ROC curve over all pairs; mean average precision over anchors.
    grid : tokens along a side of the layer; 0 for colour and chance.
    entropy : mean of the rows' entropies over that of the uniform row, 0..1; nan for colour.
    """

    side: int
    timestep: int
    layer: str
    head: str
    grid: int
    auc: float
    precision: float
    entropy: float


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """Pixels of one image: (A,) anchors and (A, O) others, as rows and columns; same label?"""

    anchors: tuple[NDArray[np.intp], NDArray[np.intp]]
    others: tuple[NDArray[np.intp], NDArray[np.intp]]
    same: NDArray[np.bool_]


@dataclass(slots=True)
class _Pool:
    scores: list[Floats] = field(default_factory=list)
    entropies: list[float] = field(default_factory=list)
    grid: int = 0

    def add(self, scores: Floats, entropy: float = float("nan"), grid: int = 0) -> None:
        self.scores.append(scores)
        self.entropies.append(entropy)
        self.grid = grid


def validation_scenes(count: int) -> list[Scene]:
    """Validation scenes of the sizes that test scenes have, 256 to 512 pixels a side."""
    return [scene(s, "val", scene_size(s, "test")) for s in split_seeds("val")[:count]]


def draw_pairs(labels: NDArray[np.integer], rng: np.random.Generator) -> Pairs:
    """Random pixels of a label image, with replacement."""
    height, width = labels.shape
    anchors = rng.integers(0, height, ANCHORS), rng.integers(0, width, ANCHORS)
    shape = (ANCHORS, OTHERS)
    others = rng.integers(0, height, shape), rng.integers(0, width, shape)
    return Pairs(anchors, others, labels[anchors][:, None] == labels[others])


def tokens_of(
    pixels: tuple[NDArray[np.intp], NDArray[np.intp]], shape: Sequence[int], grid: tuple[int, int]
) -> NDArray[np.intp]:
    """The token that each pixel of an image of this shape lies in."""
    y, x = pixels
    places: NDArray[np.intp] = (y * grid[0] // shape[0]) * grid[1] + x * grid[1] // shape[1]
    return places


def head_scores(
    maps: HeadMaps, pairs: Pairs, shape: Sequence[int]
) -> Iterator[tuple[Floats, list[float]]]:
    """Per layer: attention from anchors to others (heads, A, O), and the heads' entropies.

    shape : of the image that the pairs are pixels of.
    """
    for q, k, grid, scale in zip(maps.queries, maps.keys, maps.grids, maps.scales, strict=True):
        start = torch.as_tensor(tokens_of(pairs.anchors, shape, grid), device=q.device)
        end = torch.as_tensor(tokens_of(pairs.others, shape, grid), device=q.device)
        rows = (q[:, start].float() @ k.float().mT * scale).softmax(dim=-1)
        entropy = -(rows * rows.clamp_min(1e-30).log()).sum(-1).mean(-1) / np.log(rows.shape[-1])
        scores = rows.gather(2, end.expand(len(rows), -1, -1))
        yield scores.cpu().numpy(), entropy.tolist()


def average_precision(scores: Floats, same: NDArray[np.bool_]) -> float:
    """Mean over rows (R, O) of the average precision; rows of one kind of pair are left out."""
    some = same.any(axis=1) & ~same.all(axis=1)
    order = np.argsort(-scores[some], axis=1, kind="stable")
    hits = np.take_along_axis(same[some], order, axis=1)
    precision = hits.cumsum(axis=1) / np.arange(1, hits.shape[1] + 1)
    return float(((precision * hits).sum(axis=1) / hits.sum(axis=1)).mean())


def head_table(
    model: Diffusion, scenes: Sequence[Scene], side: int, timestep: int, seed: int = 0
) -> list[HeadScore]:
    """Scores of every head of every self-attention layer, of colour and of chance."""
    rng = np.random.default_rng(seed)
    pools: dict[tuple[str, str], _Pool] = defaultdict(_Pool)
    same = []
    for shown in scenes:
        pairs = draw_pairs(shown.labels, rng)
        same.append(pairs.same)
        image = shown.image.astype(np.float32)
        apart = np.linalg.norm(image[pairs.anchors][:, None] - image[pairs.others], axis=-1)
        pools["colour", "mean"].add(-apart)
        pools["chance", "mean"].add(np.zeros_like(apart))
        maps = model.attention(shown.image, side=side, timestep=timestep, layers=model.every_layer)
        seen = zip(maps.grids, head_scores(maps, pairs, shown.labels.shape), strict=True)
        for layer, ((grid, _), (scores, entropies)) in zip(model.every_layer, seen, strict=True):
            for number, (one, entropy) in enumerate(zip(scores, entropies, strict=True)):
                pools[layer, str(number)].add(one, entropy, grid)
            pools[layer, "mean"].add(scores.mean(axis=0), float(np.mean(entropies)), grid)
    truth = np.concatenate(same)
    rows = []
    for (layer, head), pool in pools.items():
        scores, entropy = np.concatenate(pool.scores), float(np.mean(pool.entropies))
        figures = auc(scores.ravel(), truth.ravel()), average_precision(scores, truth), entropy
        told = (round(value, 4) for value in figures)
        rows.append(HeadScore(side, timestep, layer, head, pool.grid, *told))
    return rows

"""Retrieval of segments by their pooled features: does the nearest segment show the same class?

Segments are the exact regions of validation scenes, which nothing was trained on; a segment never
retrieves from its own scene.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from napari_prelabel.methods.pooling import pool, segment_weights

from ..classes import CLASSES
from ..scenes import Scene
from .visual_model import PATCH, SIDE, Student, from_bytes

NEIGHBOURS = 5
LEAST_PIXELS = 64
BINS = 6
PERCENTILES = (5, 50, 95)
Pooled = Callable[[Scene, Tensor, int], Tensor]


@dataclass(frozen=True, slots=True)
class Segments:
    """Pooled features of all segments of some scenes.

    Attributes
    ----------
    rows : (M, E) float32 unit rows
    classes : (M,) int64
    scenes : (M,) int64
    """

    rows: Tensor
    classes: Tensor
    scenes: Tensor


def collect(scenes: Sequence[Scene], pooled: Pooled) -> Segments:
    """Every class's region of every scene with LEAST_PIXELS or more, described by ``pooled``."""
    rows, classes, owner = [], [], []
    for index, shown in enumerate(scenes):
        ids, counts = np.unique(shown.labels, return_counts=True)
        ids = ids[counts >= LEAST_PIXELS]
        lookup = np.full(int(shown.labels.max()) + 1, -1, np.int64)
        lookup[ids] = np.arange(len(ids))
        rows.append(pooled(shown, torch.from_numpy(lookup[shown.labels]), len(ids)))
        classes += ids.tolist()
        owner += [index] * len(ids)
    return Segments(torch.cat(rows), torch.as_tensor(classes), torch.as_tensor(owner))


def retrieved(segments: Segments, neighbours: int = NEIGHBOURS) -> dict[str, float]:
    """Percent of segments whose class is that of the nearest one, and of the k nearest's vote.

    "stuff" and "things" are the nearest one's for each kind; "macro" is its mean over classes.
    """
    near = segments.rows @ segments.rows.T
    near[segments.scenes[:, None] == segments.scenes[None]] = -torch.inf
    score, at = near.topk(min(neighbours, len(near) - 1), dim=1)
    found = segments.classes[at]
    votes = torch.zeros(len(near), len(CLASSES) + 1)
    votes.scatter_add_(1, found, score.clamp_min(-1.0) + 1.001)
    first = (found[:, 0] == segments.classes).float()
    stuff = torch.tensor([c.kind == "stuff" for c in CLASSES])[segments.classes - 1]
    by_class = [first[segments.classes == c].mean() for c in set(segments.classes.tolist())]
    answers = {
        "nearest": first.mean(),
        "vote": (votes.argmax(dim=1) == segments.classes).float().mean(),
        "stuff": first[stuff].mean(),
        "things": first[~stuff].mean(),
        "macro": torch.stack(by_class).mean(),
    }
    return {k: round(100 * float(v), 1) for k, v in answers.items()}


def spread(segments: Segments) -> dict[str, float]:
    """Percentiles of the cosines between segments of different scenes."""
    apart = segments.scenes[:, None] != segments.scenes[None]
    cosines = (segments.rows @ segments.rows.T)[apart].numpy()
    found = np.percentile(cosines, PERCENTILES)
    return {f"cosine {p}": round(float(v), 3) for p, v in zip(PERCENTILES, found, strict=True)}


def judged(scenes: Sequence[Scene], pooled: Pooled) -> dict[str, float]:
    """`retrieved` and `spread` of the segments of some scenes."""
    segments = collect(scenes, pooled)
    return retrieved(segments) | spread(segments)


def encoded(model: Student) -> Pooled:
    """Patch tokens of the encoder on the squashed scene, pooled by soft masks."""

    @torch.no_grad()
    def pooled(shown: Scene, labels: Tensor, count: int) -> Tensor:
        squashed = Image.fromarray(shown.image).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
        with torch.autocast("cpu", torch.bfloat16):
            tokens = model(from_bytes(np.asarray(squashed)[None]))[0, 1:]
        grid = (SIDE // PATCH, SIDE // PATCH)
        return pool(tokens.float(), segment_weights(labels, count, grid))

    return pooled


def histogram(shown: Scene, labels: Tensor, count: int) -> Tensor:
    """The baseline: square roots of a joint histogram of RGB, BINS per channel."""
    bins = (shown.image.astype(np.int64) * BINS // 256) @ np.asarray([BINS * BINS, BINS, 1])
    rows = torch.zeros(count, BINS**3)
    where: NDArray[np.bool_] = (labels >= 0).numpy()
    flat = labels[torch.from_numpy(where)] * BINS**3 + torch.from_numpy(bins[where])
    rows.view(-1).index_add_(0, flat, torch.ones(len(flat)))
    return F.normalize(rows.sqrt(), dim=1)

"""Does attention know which patches belong together? AUC of "same label", layer by layer."""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from napari_prelabel.engine.samples import Sample
from napari_prelabel.methods import freecp
from napari_prelabel.models.clip import Clip
from napari_prelabel.models.windows import Layout, cut, plan_layout
from napari_prelabel.values.job import Windows

from .synthetic.colour_auc import auc

Scores = npt.NDArray[np.float32]


@dataclass(slots=True, eq=False)
class _Pool:
    """Scores of pairs and whether they have one label, gathered over windows."""

    scores: dict[str, list[Scores]] = field(default_factory=dict)
    same: list[npt.NDArray[np.bool_]] = field(default_factory=list)

    def rows(self) -> Iterator[tuple[str, float]]:
        same = np.concatenate(self.same)
        for name, parts in self.scores.items():
            yield name, auc(np.concatenate(parts), same)


def affinity_auc(
    clip: Clip, windows: Windows, samples: Sequence[Sample], *, pairs: int = 4000, seed: int = 0
) -> list[dict[str, Any]]:
    """AUC of "same label" over pairs of patches of one window, all windows of all images.

    Rows: plain colour distance, the attention of every layer (mean of heads, both directions),
    the mean over layers 1 to L - 1, and FreeCP's published choice (that mean after its Sinkhorn
    rounds, symmetrised and squared; docs/methods/freecp.md#affinity). A patch has the label of most
    of its pixels.

    pairs : drawn at random in each window. Returns [{"affinity", "auc"}], auc 0..1.
    """
    rng = np.random.default_rng(seed)
    pool = _Pool()
    for sample in samples:
        layout = plan_layout(sample.truth.shape, windows, clip.patch)
        image = cut(sample.image, layout)
        truth = _labels(sample, layout)
        height, width = layout.window
        boxes = [np.s_[y : y + height, x : x + width] for y, x in layout.origins]
        labels = np.stack([_majority(truth[box], clip.patch) for box in boxes])
        a, b = rng.integers(0, labels.shape[1], (2, len(boxes), pairs))
        rows = np.arange(len(boxes))[:, None]
        pool.same.append((labels[rows, a] == labels[rows, b]).ravel())
        for name, matrices in _affinities(clip, np.stack([image[box] for box in boxes])):
            pool.scores.setdefault(name, []).append(matrices[rows, a, b].ravel().numpy())
    return [{"affinity": name, "auc": round(value, 4)} for name, value in pool.rows()]


def _affinities(clip: Clip, windows: npt.NDArray[np.uint8]) -> Iterator[tuple[str, Tensor]]:
    """(B, N, N) scores of B windows (B, h, w, 3) by name, the higher the closer."""
    pixels = torch.from_numpy(windows).permute(0, 3, 1, 2).float() / 255
    colours = torch.nn.functional.avg_pool2d(pixels, clip.patch).flatten(2).mT
    yield "colour", -torch.cdist(colours, colours)
    layers = layer_attention(clip, pixels)
    for number, layer in enumerate(layers, start=1):
        yield f"layer {number}", _both_ways(layer)
    mean = torch.stack(layers[:-1]).mean(0)
    yield "mean of layers 1 to L - 1", _both_ways(mean)
    walk = freecp.affinity(mean)
    yield "FreeCP", (walk @ walk).cpu()


def _both_ways(attention: Tensor) -> Tensor:
    patches = attention[:, 1:, 1:].cpu()
    return (patches + patches.mT) / 2


def layer_attention(clip: Clip, pixels: Tensor) -> list[Tensor]:
    """softmax(Q K^T) of every layer, averaged over heads: L tensors (B, 1 + N, 1 + N).

    pixels : (B, 3, H, W) in [0, 1]
    """
    blocks = clip.tower.blocks
    before = torch.zeros(())
    found = []
    for count in range(1, len(blocks) + 1):
        # The trunk of a tower that ends one block later is the mean over its first `count`.
        short = copy.copy(clip)
        short.tower = replace(clip.tower, blocks=(*blocks[:count], blocks[-1]))
        mean = short.encode_trunk(pixels, need=("attention",)).attention
        assert mean is not None
        found.append(mean * count - before)
        before = mean * count
    return found


def _labels(sample: Sample, layout: Layout) -> npt.NDArray[np.uint16]:
    """The truth on the pixels that are cut into windows: nearest neighbour, edges repeated."""
    height, width = layout.resized
    rows = (np.arange(layout.starts[0][-1] + layout.window[0]) + 0.5) * layout.size[0] / height
    columns = (np.arange(layout.starts[1][-1] + layout.window[1]) + 0.5) * layout.size[1] / width
    y = np.clip(rows.astype(int), 0, layout.size[0] - 1)
    x = np.clip(columns.astype(int), 0, layout.size[1] - 1)
    labels: npt.NDArray[np.uint16] = sample.truth[y[:, None], x]
    return labels


def _majority(labels: npt.NDArray[np.uint16], patch: int) -> npt.NDArray[np.intp]:
    """(N,) commonest label of each patch, row by row."""
    h, w = labels.shape[0] // patch, labels.shape[1] // patch
    cells = labels[: h * patch, : w * patch].reshape(h, patch, w, patch).swapaxes(1, 2)
    flat = cells.reshape(h * w, -1)
    present = np.unique(flat)
    counts = np.stack([(flat == label).sum(1) for label in present])
    commonest: npt.NDArray[np.intp] = counts.argmax(0)
    return commonest

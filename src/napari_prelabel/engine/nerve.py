"""NERVE in the engine: CLIP's evidence carried along the diffusion model's affinity.

docs/methods/nerve.md#steps

The attention of an image is kept, and the graph that settings make of it: another word costs a
walk, another setting of the graph a fraction of the diffusion model's pass.
"""

from collections.abc import Callable, Generator, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ..images.rgb import Rgb
from ..methods import freecp, nerve
from ..methods.walk import Graph
from ..models.windows import Layout
from ..values.job import Job, Nerve, Progress
from ..values.labels import LabelMap, decide
from ..values.settings import Wording
from . import score
from .cache import Encodings, Entry, cache_key
from .encode import Queries, stop_if
from .layout import Blend, Scratch, Tile
from .timing import Stopwatch

if TYPE_CHECKING:
    from ..models.denoising import Diffusion

# What of the settings decides the graph; the rest decides the walk.
_OF_GRAPH = ("weighting", "temperature", "lowest", "local", "radius", "cleanup", "cleaned")


class Affinities:
    """One diffusion model with its cache: graphs of images, by content and settings."""

    def __init__(self, model: "Diffusion", cache: Encodings, watch: Stopwatch) -> None:
        self.model = model
        self._cache = cache
        self._watch = watch

    def graph(self, image: Rgb, name: str, settings: Nerve) -> Graph:
        """The graph of an image (H, W, 3) uint8; name : its content hash."""
        seen = cache_key("diffusion", self.model.digest, name, settings.timestep)
        told = {f: getattr(settings, f) for f in _OF_GRAPH}

        def make() -> Entry:
            heads = self._cache.get(seen, lambda: self._attention(image, settings))
            with self._watch.time("graph"):
                count = sum(key.startswith("q") for key in heads)
                graph = nerve.build(
                    [heads[f"q{i}"].float() for i in range(count)],
                    [heads[f"k{i}"].float() for i in range(count)],
                    [(int(h), int(w)) for h, w in heads["grids"].tolist()],
                    heads["scales"].tolist(),
                    settings,
                )
            return graph.to_entry()

        key = cache_key("graph", seen, sorted(told.items()))
        return Graph.from_entry(self._cache.get(key, make))

    def keep(self, image: Rgb, name: str) -> None:
        """Keep the pixels of an image (H, W, 3) uint8 beside its graph."""
        self._cache.put(cache_key("pixels", name), {"image": torch.tensor(image)})

    def kept(self, name: str) -> Rgb | None:
        """The pixels of an image by its content hash, None when they are not here any more."""
        entry = self._cache.find(cache_key("pixels", name))
        return None if entry is None else entry["image"].numpy()

    def _attention(self, image: Rgb, settings: Nerve) -> Entry:
        with self._watch.time("diffusion", forward=True):
            found = self.model.attention(image, timestep=settings.timestep)
        entry = {f"q{i}": q for i, q in enumerate(found.queries)}
        entry |= {f"k{i}": k for i, k in enumerate(found.keys)}
        return entry | {
            "grids": torch.tensor(found.grids),
            "scales": torch.tensor(found.scales, dtype=torch.float64),
        }


def evidence(
    maps: score.Maps, queries: Queries, layout: Layout, scale: float, grid: tuple[int, int]
) -> Tensor:
    """G (N, C) on the graph's grid from cosines of all windows (step A)."""
    small = replace(layout, size=grid)
    # A token's classes lie side by side in memory, as the tiles and G have them.
    p = maps.scores.new_empty(*grid, queries.n_classes).permute(2, 0, 1)
    for tile in Blend(small).tiles(maps.scores):
        found = freecp.class_probability(
            tile.scores[None] * scale, queries.owner, queries.n_classes
        )[0]
        p[:, tile.rows, tile.columns] = found[: queries.n_classes]
    return nerve.node_labels(p, grid)


def window_affinity(
    graph: Graph, layout: Layout, first: int, count: int, wording: Wording
) -> Tensor:
    """(count, N, N) affinity of windows first .. first + count - 1 for FreeCP's refinement."""
    height, width = layout.resized
    parts = []
    for y, x in layout.origins[first : first + count]:
        window = (
            y / height,
            x / width,
            min(y + layout.window[0], height) / height,
            min(x + layout.window[1], width) / width,
        )
        attention = nerve.attention_on(graph, layout.grid, window)
        parts.append(freecp.affinity(attention[None], wording=wording, prefix=0))
    return torch.cat(parts)


def label(
    labels: Tensor,
    graph: Graph,
    job: Job,
    queries: Queries,
    size: tuple[int, int],
    watch: Stopwatch,
    cancelled: Callable[[], bool] = lambda: False,
) -> Generator[Progress, None, LabelMap]:
    """Walk, read out and decide (steps E and F).

    labels : (N, C), G. size : (H, W) of the image in pixels. cancelled : asked before every step.
    """
    settings = job.nerve
    yield Progress("walk", 0, 1)
    with watch.time("walk"):
        walked = nerve.nerve(labels, graph, settings, lambda: stop_if(cancelled))
        maps = nerve.class_maps(walked, labels, graph.grid, settings, background=queries.background)
    whole = Layout(size, graph.grid, graph.grid, ((0,), (0,)), 1)
    tiles = _decided(Blend(whole), maps, queries, settings)
    return (yield from score.together(tiles, whole, job.vocabulary))


def _decided(
    blend: Blend, maps: Tensor, queries: Queries, settings: Nerve
) -> Iterator[score.Decided]:
    scratch = Scratch()

    def decided(tile: Tile) -> score.Decided:
        scores = tile.scores_in(scratch)
        background = None
        if queries.background:
            background = np.asarray(nerve.background_score(scores, settings).cpu())
        return tile, decide(scores.cpu().numpy(), background)

    return score.ahead(decided, blend.tiles(maps[None]))

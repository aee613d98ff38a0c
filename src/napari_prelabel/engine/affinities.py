"""What the diffusion model sees as one thing, for NERVE, FreeCP and scribbles: graphs of images.

The attention of an image is kept, and the graph that settings make of it: another word costs a
walk, another setting of the graph a fraction of the diffusion model's pass.
"""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..images.rgb import Rgb
from ..methods import freecp, nerve
from ..methods.walk import Graph
from ..models.windows import Layout
from ..values.settings import Nerve, Wording
from .cache import Encodings, Entry, cache_key
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

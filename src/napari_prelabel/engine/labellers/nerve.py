"""NERVE: CLIP's evidence carried along the diffusion model's affinity.

docs/methods/nerve.md#steps
"""

from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
from torch import Tensor

from ...methods import freecp, nerve
from ...methods.walk import Graph
from ...models.windows import Layout
from ...values.job import Job, Nerve, Progress
from ...values.labels import LabelMap, decide
from ..encode import Queries
from ..layout import Blend, Decided, Scratch, Tile, ahead, together
from ..reading import Reading, read
from ..timing import Stopwatch
from ..workbench import Workbench


@dataclass(frozen=True, slots=True, eq=False)
class Woven:
    """An image read by CLIP, and the diffusion model's graph of it; model : for the record."""

    reading: Reading
    graph: Graph
    model: Mapping[str, str]


def see(job: Job, bench: Workbench) -> Generator[Progress, None, Woven]:
    """The image's windows and its graph; another word costs a walk alone."""
    reading = yield from read(job, bench)
    graph, model = yield from bench.graph(reading.bundle, job)
    return Woven(reading, graph, model)


def label(job: Job, seen: Woven, bench: Workbench) -> Generator[Progress, None, LabelMap]:
    """The base's evidence on the graph, carried along it."""
    reading, graph = seen.reading, seen.graph
    queries = yield from reading.encoder.queries(job.vocabulary)
    cosines = yield from reading.cosines(queries, job.base)
    bench.stop()
    with bench.watch.time("score"):
        given = evidence(cosines, queries, reading.layout, reading.scale(job), graph.grid)
    labels = yield from walk(given, graph, job, queries, bench.size, bench.watch, bench.stop)
    return reading.told(labels, job, bench, **seen.model)


def evidence(
    cosines: Tensor, queries: Queries, layout: Layout, scale: float, grid: tuple[int, int]
) -> Tensor:
    """G (N, C) on the graph's grid from cosines (windows, Q, h, w) of all windows (step A)."""
    small = replace(layout, size=grid)
    # A token's classes lie side by side in memory, as the tiles and G have them.
    p = cosines.new_empty(*grid, queries.n_classes).permute(2, 0, 1)
    for tile in Blend(small).tiles(cosines):
        found = freecp.class_probability(
            tile.scores[None] * scale, queries.owner, queries.n_classes
        )[0]
        p[:, tile.rows, tile.columns] = found[: queries.n_classes]
    return nerve.node_labels(p, grid)


def walk(
    given: Tensor,
    graph: Graph,
    job: Job,
    queries: Queries,
    size: tuple[int, int],
    watch: Stopwatch,
    stop: Callable[[], None] = lambda: None,
) -> Generator[Progress, None, LabelMap]:
    """Walk, read out and decide (steps E and F).

    given : (N, C), G. size : (H, W) of the image in pixels. stop : called before every step.
    """
    settings = job.nerve
    yield Progress("walk", 0, 1)
    with watch.time("walk"):
        walked = nerve.nerve(given, graph, settings, stop)
        maps = nerve.class_maps(walked, given, graph.grid, settings, background=queries.background)
    whole = Layout(size, graph.grid, graph.grid, ((0,), (0,)), 1)
    tiles = _decided(Blend(whole), maps, queries, settings)
    return (yield from together(tiles, whole, job.vocabulary))


def _decided(blend: Blend, maps: Tensor, queries: Queries, settings: Nerve) -> Iterator[Decided]:
    scratch = Scratch()

    def of(tile: Tile) -> Decided:
        scores = tile.scores_in(scratch)
        background = None
        if queries.background:
            background = np.asarray(nerve.background_score(scores, settings).cpu())
        return tile, decide(scores.cpu().numpy(), background)

    return ahead(of, blend.tiles(maps[None]))

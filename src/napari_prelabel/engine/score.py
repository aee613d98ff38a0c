"""From encoded windows to scores of pixels: the base methods and FreeCP.

Decisions as in docs/methods/bases.md#decision and docs/methods/freecp.md#decision.
"""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from ..methods import freecp
from ..methods.dense import class_logits
from ..methods.threads import one_blas_thread
from ..models.windows import Layout
from ..values.job import Job, Progress
from ..values.labels import LabelMap, decide
from ..values.vocabulary import Vocabulary
from .encode import Batch, Queries
from .layout import Blend, Scratch, Tile

Ids = np.ndarray[tuple[int, ...], np.dtype[np.uint16]]
Crops = list[tuple[int, int, int, int]]
# A tile of the image, and ids, score and second-best class in it.
Decided = tuple[Tile, tuple[Ids, np.ndarray, Ids]]
_Item = TypeVar("_Item")


@dataclass(frozen=True, slots=True, eq=False)
class Maps:
    """Maps of all windows, ready to be blended.

    scores : (B, K, h, w); cosines of queries (base) or purified maps of classes (FreeCP).
    probability : (B, C, h, w) of the base, where pixels that no class holds fall back to it.
    crops : how many boxes were looked at.
    """

    scores: Tensor
    probability: Tensor | None = None
    crops: int = 0


def base_maps(batch: Batch, queries: Queries, layout: Layout) -> Tensor:
    """Cosines (b, Q, h, w) of patches and queries."""
    cosines = class_logits(batch.rows, queries.rows, 1.0)
    return cosines.reshape(*cosines.shape[:2], *layout.grid)


def freecp_maps(
    batch: Batch, queries: Queries, layout: Layout, job: Job, scale: float
) -> tuple[Tensor, Tensor]:
    """Refined maps and probabilities (b, C, h, w) of the classes (docs/methods/freecp.md#steps)."""
    assert batch.affinity is not None
    logits = base_maps(batch, queries, layout) * scale
    p = freecp.class_probability(logits, queries.owner, queries.n_classes)
    affinity = batch.affinity.to(p.device)
    refined = freecp.refine(
        p,
        affinity,
        queries.n_classes,
        box_threshold=job.freecp.box_threshold,
        wording=job.freecp.refinement,
    )
    return refined, p[:, : queries.n_classes]


def plan_purification(refined: Tensor, probability: Tensor, job: Job) -> freecp.Plan:
    """What FreeCP decides from the maps of all windows, and the crops it needs (2.5, 2.6)."""
    return freecp.find(refined, probability, job.freecp)


def crop_boxes(plan: freecp.Plan, layout: Layout) -> Crops:
    """The plan's crops as (y0, x0, y1, x1) pixels of the cut image."""
    return [crop.pixels(layout.patch, layout.origins[crop.window]) for crop in plan.crops]


def decide_tiles(
    maps: Maps, queries: Queries, layout: Layout, job: Job, scale: float
) -> Generator[Progress, None, LabelMap]:
    """Blend, resize and decide tile by tile, so that no score exists at full size."""
    blend = Blend(layout)
    tiles = (
        _decide_freecp(blend, maps, queries)
        if job.method == "freecp"
        else _decide_base(blend, maps, queries, scale, job.min_score)
    )
    return (yield from together(tiles, layout, job.vocabulary))


def together(
    tiles: Iterator[Decided], layout: Layout, vocabulary: Vocabulary
) -> Generator[Progress, None, LabelMap]:
    """The label map that decided tiles make."""
    ids = np.zeros(layout.size, np.uint16)
    score = np.zeros(layout.size, np.float16)
    runner_up = np.zeros(layout.size, np.uint16)
    for tile, found in tiles:
        place = (tile.rows, tile.columns)
        ids[place], score[place], runner_up[place] = found
        if tile.columns.stop == layout.size[1]:
            yield Progress("decide", tile.rows.stop, layout.size[0])
    return LabelMap(ids, score, runner_up, vocabulary)


def _decide_base(
    blend: Blend, maps: Maps, queries: Queries, scale: float, min_score: float
) -> Iterator[Decided]:
    """Scale, softmax over queries, maximum over a class's names, argmax.

    docs/methods/bases.md#decision
    """

    scratch = Scratch()

    def decided(tile: Tile) -> Decided:
        logits = tile.scores_in(scratch)[None] * scale
        p = freecp.class_probability(logits, queries.owner, queries.n_classes)[0].cpu().numpy()
        background = None
        if queries.background:
            # A pixel is empty where a background word wins or no class reaches min_score.
            least = np.nextafter(np.float32(min_score), np.float32(-1))
            background = np.maximum(p[queries.n_classes :].max(0), least)
        return tile, decide(p[: queries.n_classes], background)

    return ahead(decided, blend.tiles(maps.scores))


def _decide_freecp(blend: Blend, maps: Maps, queries: Queries) -> Iterator[Decided]:
    """Argmax of the blended maps, with background words against 1 - max.

    docs/methods/freecp.md#decision
    """

    scratch = Scratch()

    def decided(tiles: tuple[Tile, ...]) -> Decided:
        tile, *below = tiles
        scores = tile.scores_in(scratch)
        for filling in below:
            scores = freecp.fill_empty(scores, filling.scores_in(scratch, "base"))
        background = freecp.background_score(scores).cpu().numpy() if queries.background else None
        ids, score, second = decide(scores.cpu().numpy(), background)
        names = np.concatenate([[0], tile.channels.numpy() + 1]).astype(np.uint16)
        # Where nothing is left the first class wins, as in the published code: it is always there.
        return tile, (names[ids], score, names[second])

    if maps.probability is None:
        return ahead(decided, zip(blend.tiles(maps.scores, sparse=True), strict=True))
    both = zip(blend.tiles(maps.scores), blend.tiles(maps.probability), strict=True)
    return ahead(decided, both)


def ahead(decided: Callable[[_Item], Decided], tiles: Iterable[_Item]) -> Iterator[Decided]:
    """Blend and decide several tiles at a time, each in one thread; in their order.

    Threads of their own for every product would wait for each other, busily.
    """
    threads = torch.get_num_threads()
    waiting: deque[Future[Decided]] = deque()
    with one_blas_thread(), ThreadPoolExecutor(threads) as pool:
        for tile in tiles:
            waiting.append(pool.submit(decided, tile))
            if len(waiting) > threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()

"""Base alone: every pixel takes the word that CLIP's last block, read densely, finds best there.

docs/methods/bases.md
"""

from collections.abc import Generator, Iterator

import numpy as np
from torch import Tensor

from ...methods.freecp import class_probability
from ...models.windows import Layout
from ...values.job import Job, Progress
from ...values.labels import LabelMap, decide
from ..encode import Queries
from ..layout import Blend, Decided, Scratch, Tile, ahead, together
from ..reading import Reading, read
from ..workbench import Workbench


def see(job: Job, bench: Workbench) -> Generator[Progress, None, Reading]:
    """The image's windows."""
    return (yield from read(job, bench))


def label(job: Job, seen: Reading, bench: Workbench) -> Generator[Progress, None, LabelMap]:
    """Cosines of words and patches, blended, resized and decided."""
    queries = yield from seen.encoder.queries(job.vocabulary)
    cosines = yield from seen.cosines(queries, job.base)
    with bench.watch.time("decide"):
        labels = yield from decide_tiles(cosines, queries, seen.layout, job, seen.scale(job))
    return seen.told(labels, job, bench)


def decide_tiles(
    cosines: Tensor, queries: Queries, layout: Layout, job: Job, scale: float
) -> Generator[Progress, None, LabelMap]:
    """Blend, resize and decide cosines (windows, Q, h, w), tile by tile."""
    tiles = _decided(Blend(layout), cosines, queries, scale, job.min_score)
    return (yield from together(tiles, layout, job.vocabulary))


def _decided(
    blend: Blend, cosines: Tensor, queries: Queries, scale: float, min_score: float
) -> Iterator[Decided]:
    """Scale, softmax over queries, maximum over a class's names, argmax.

    docs/methods/bases.md#decision
    """

    scratch = Scratch()

    def of(tile: Tile) -> Decided:
        logits = tile.scores_in(scratch)[None] * scale
        p = class_probability(logits, queries.owner, queries.n_classes)[0].cpu().numpy()
        background = None
        if queries.background:
            # A pixel is empty where a background word wins or no class reaches min_score.
            least = np.nextafter(np.float32(min_score), np.float32(-1))
            background = np.maximum(p[queries.n_classes :].max(0), least)
        return tile, decide(p[: queries.n_classes], background)

    return ahead(of, blend.tiles(cosines))

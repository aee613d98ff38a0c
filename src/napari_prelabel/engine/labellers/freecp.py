"""FreeCP: the base's maps refined by attention, then purified of words that are not there.

docs/methods/freecp.md#steps
"""

from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from ...methods import freecp
from ...methods.walk import Graph
from ...models.vision import Resize
from ...models.windows import Layout
from ...values.job import Job, Progress
from ...values.labels import LabelMap, decide
from ...values.vocabulary import Vocabulary
from ..affinities import window_affinity
from ..cache import Entry, cache_key
from ..encode import Batch, Box, CachedClip, Queries, chunks
from ..layout import Blend, Decided, Scratch, Tile, ahead, together
from ..reading import Reading, cosines, read
from ..workbench import Workbench

# Crops are looked at at this side (docs/methods/freecp.md#ambiguity), whatever the patch.
CROP_SIDE = 112
# Twice what bfloat16 moved a unit row towards a rival at most, on 192 crops of the sample scenes
# with the demo model (0.0046; 0.0008 root mean square).
_FAST_ERROR = 0.01


@dataclass(frozen=True, slots=True, eq=False)
class Spread:
    """An image read by CLIP; graph : whose affinity is taken in place of CLIP's own, or None."""

    reading: Reading
    graph: Graph | None = None
    model: Mapping[str, str] = field(default_factory=dict)


def see(job: Job, bench: Workbench) -> Generator[Progress, None, Spread]:
    """The image's windows, and the diffusion model's graph where likeness comes from it."""
    reading = yield from read(job, bench)
    if not job.needs.diffusion:
        return Spread(reading)
    return Spread(reading, *(yield from bench.graph(reading.bundle, job)))


def label(job: Job, seen: Spread, bench: Workbench) -> Generator[Progress, None, LabelMap]:
    """Refine every window's maps, purify all of them, blend, decide."""
    reading = seen.reading
    queries = yield from reading.encoder.queries(job.vocabulary)

    def refine(batch: Batch, before: int) -> tuple[Tensor, Tensor]:
        near = None if seen.graph else attention(batch, reading.encoder, job)
        with bench.watch.time("score"):
            if near is None:
                assert seen.graph is not None
                near = window_affinity(
                    seen.graph, reading.layout, before, len(batch.rows), job.freecp.refinement
                )
            found = cosines(batch, queries, reading.layout)
            return maps(found, near, queries, job, reading.scale(job))

    pairs = yield from reading.each(job.base, refine)
    refined, probability = (torch.cat(parts) for parts in zip(*pairs, strict=True))
    purified, looked = yield from _purify(job, reading, queries, refined, probability)
    fallback = job.freecp.empty_pixel == "base" and not queries.background
    with bench.watch.time("decide"):
        labels = yield from decide_tiles(
            purified, queries, reading.layout, job.vocabulary, probability if fallback else None
        )
    return reading.told(labels, job, bench, crops=looked, **seen.model)


def attention(batch: Batch, encoder: CachedClip, job: Job) -> Tensor:
    """(b, N, N) affinity of CLIP's own attention, kept with the windows."""
    head0 = job.base == "gem" and job.freecp.gem_affinity == "head0"
    heads, wording = "head0" if head0 else "mean", job.freecp.refinement

    def spread() -> Entry:
        found = batch.trunk()["head0" if head0 else "attention"]
        with encoder.watch.time("affinity"):
            return {"affinity": freecp.affinity(found.to(encoder.clip.device), wording=wording)}

    return batch.keep(f"{heads}-{wording}", spread)["affinity"]


def maps(
    cosines: Tensor, near: Tensor, queries: Queries, job: Job, scale: float
) -> tuple[Tensor, Tensor]:
    """Refined maps and probabilities (b, C, h, w) of the classes.

    cosines : (b, Q, h, w). near : (b, N, N) affinity of the patches.
    """
    p = freecp.class_probability(cosines * scale, queries.owner, queries.n_classes)
    refined = freecp.refine(
        p,
        near.to(p.device),
        queries.n_classes,
        box_threshold=job.freecp.box_threshold,
        wording=job.freecp.refinement,
    )
    return refined, p[:, : queries.n_classes]


def _purify(
    job: Job, reading: Reading, queries: Queries, refined: Tensor, probability: Tensor
) -> Generator[Progress, None, tuple[Tensor, int]]:
    """Maps of the words that stay, and how many crops were looked at for it."""
    watch = reading.encoder.watch
    yield Progress("purify", 0, 1)
    with watch.time("purify"):
        plan = freecp.find(refined, probability, job.freecp)
    rows = described = None
    if plan.crops:
        described = yield from descriptions(reading.encoder, job.vocabulary, queries)
        rows = yield from _look(job, reading, plan, described)
    with watch.time("purify"):
        return plan.finish(rows, described), len(plan.crops)


def _look(
    job: Job, reading: Reading, plan: freecp.Plan, described: Tensor
) -> Generator[Progress, None, Tensor]:
    """Image vectors of the crops: fast ones, then exact ones where the difference could count."""
    encoder, clip, pixels = reading.encoder, reading.clip, reading.pixels
    boxes = crop_boxes(plan, reading.layout)
    fast = job.precision == "float32" and clip.crop_dtype("auto") != clip.dtype
    rows = yield from crops(encoder, pixels, boxes, job.base, fast)
    close = plan.close_calls(rows, described, _FAST_ERROR) if fast else []
    if close:
        exact = yield from crops(encoder, pixels, [boxes[k] for k in close], job.base, False)
        rows[close] = exact
    return rows


def crop_boxes(plan: freecp.Plan, layout: Layout) -> list[Box]:
    """The plan's crops as (y0, x0, y1, x1) pixels of the cut image."""
    return [crop.pixels(layout.patch, layout.origins[crop.window]) for crop in plan.crops]


def descriptions(
    encoder: CachedClip, vocabulary: Vocabulary, queries: Queries
) -> Generator[Progress, None, Tensor]:
    """(C, E) unit rows: of a class's sentences, or of its names where it has none."""
    out = torch.stack([queries.rows[queries.owner == i].mean(0) for i in range(queries.n_classes)])
    told = [c for c in vocabulary.classes if c.descriptions]
    rows = yield from encoder.text([c.descriptions for c in told], False)
    if told:
        out[[c.id - 1 for c in told]] = rows
    return F.normalize(out, dim=-1)


def crops(
    encoder: CachedClip, image: npt.NDArray[np.uint8], boxes: Sequence[Box], base: str, fast: bool
) -> Generator[Progress, None, Tensor]:
    """(len(boxes), E) image vectors of (y0, x0, y1, x1) pixel boxes of the cut image.

    fast : in bfloat16 where the processor multiplies it natively.
    """
    clip, cache, watch = encoder.clip, encoder.cache, encoder.watch
    resize: Resize = "antialias" if base == "gem" else "scale"
    precision = "auto" if fast else None
    with watch.time("cache"):
        whole = cache_key(image.shape, image.tobytes(), clip.digest, resize, f"crop {precision}")
        keys = {box: cache_key(whole, box) for box in boxes}
        found = {box: cache.find(key) for box, key in keys.items()}
    rows = {box: entry["row"] for box, entry in found.items() if entry is not None}
    missing = [box for box in keys if box not in rows]
    count = max(1, encoder.at_once(1 + (CROP_SIDE // clip.patch) ** 2) // 2)
    for done, part in enumerate(chunks(missing, count)):
        encoder.stop()
        yield Progress("purify", done * count, len(missing))
        # A batch of one fixed size, see `encode`; the last one repeats its first crop.
        full = [*part, *[part[0]] * (count - len(part))]
        with watch.time("crops", forward=True):
            pixels = torch.cat([_crop(encoder, image, box) for box in full])
            out = encoder.fit(
                lambda p: {"row": clip.encode_cls(p, precision=precision, resize=resize)}, pixels
            )["row"]
        for box, row in zip(part, out, strict=False):
            rows[box] = row.clone()
            cache.put(keys[box], {"row": rows[box]})
    if not boxes:
        return torch.empty(0, clip.embed_dim)
    return torch.stack([rows[box].to(clip.device) for box in boxes])


def _crop(encoder: CachedClip, image: npt.NDArray[np.uint8], box: Box) -> Tensor:
    y0, x0, y1, x1 = box
    part = encoder.tensor(image[None, y0:y1, x0:x1])
    return F.interpolate(part, size=(CROP_SIDE, CROP_SIDE), mode="bilinear")


def decide_tiles(
    purified: Tensor,
    queries: Queries,
    layout: Layout,
    vocabulary: Vocabulary,
    fallback: Tensor | None = None,
) -> Generator[Progress, None, LabelMap]:
    """Blend, resize and decide purified maps (windows, C, h, w), tile by tile.

    fallback : as many probabilities of the base, for pixels that no class holds; None gives those
        to the first class.
    """
    tiles = _decided(Blend(layout), purified, fallback, queries)
    return (yield from together(tiles, layout, vocabulary))


def _decided(
    blend: Blend, purified: Tensor, fallback: Tensor | None, queries: Queries
) -> Iterator[Decided]:
    """Argmax of the blended maps, with background words against 1 - max.

    docs/methods/freecp.md#decision
    """

    scratch = Scratch()

    def of(tiles: tuple[Tile, ...]) -> Decided:
        tile, *below = tiles
        scores = tile.scores_in(scratch)
        for filling in below:
            scores = freecp.fill_empty(scores, filling.scores_in(scratch, "base"))
        background = freecp.background_score(scores).cpu().numpy() if queries.background else None
        ids, score, second = decide(scores.cpu().numpy(), background)
        names = np.concatenate([[0], tile.channels.numpy() + 1]).astype(np.uint16)
        # Where nothing is left the first class wins, as in the published code: it is always there.
        return tile, (names[ids], score, names[second])

    if fallback is None:
        return ahead(of, zip(blend.tiles(purified, sparse=True), strict=True))
    both = zip(blend.tiles(purified), blend.tiles(fallback), strict=True)
    return ahead(of, both)

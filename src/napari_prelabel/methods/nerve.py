"""NERVE (Mahatha, Dolz, Desrosiers, WACV 2026): carry CLIP's labels along diffusion attention.

The walk, for an image (C classes, N = h * w tokens of the diffusion model's finest grid)::

    graph = build(queries, keys, grids, scales, settings)      once per image: steps B to D
    g = node_labels(probabilities, graph.grid)                 step A
    p = nerve(g, graph, settings)                              step E
    maps = class_maps(p, g, graph.grid, settings)              step F, then per tile of pixels
    empty = background_score(maps, settings)

Steps as in docs/methods/nerve.md#steps, which says what is the paper's and what is our choice.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from ..values.errors import ImageError, JobError
from ..values.settings import Nerve
from .attention import Cut, Mixture, blocks, mix, mix_cleaned, scan
from .walk import (
    Cleanup,
    Coarse,
    Graph,
    Grid,
    Streamed,
    inside,
    offsets,
    resampling,
    walk,
)

# Bytes up to which the weighted attention is held whole: N = 8192 in single precision.
BUDGET = 256 << 20
_ROWS_TEMPERATURE = 0.1
_TINY = 1e-6


def node_labels(probabilities: Tensor, grid: Grid) -> Tensor:
    """The node-to-label matrix G (step A): bilinear, rows not made to sum to 1.

    probabilities : (C, h, w) of the classes, 0..1; what a pixel lacks to 1 is its background
    returns : (N, C) float32, or float64 if they are
    """
    real = probabilities if probabilities.dtype == torch.float64 else probabilities.float()
    if tuple(real.shape[1:]) != tuple(grid):
        real = F.interpolate(real[None], grid, mode="bilinear", align_corners=False)[0]
    return real.flatten(1).mT.contiguous()


def head_weights(
    entropies: Sequence[Tensor], tokens: Sequence[int], settings: Nerve
) -> list[Tensor]:
    """How much each head counts (step C), over the heads of all layers together.

    The rows of a layer with fewer tokens are comparable once their tokens are counted as the
    N / n tokens of the finest grid that they cover: H + ln(N / n).

    entropies : per layer (heads, n), of every row
    tokens : per layer n
    returns : per layer (heads,), together summing to 1; with "row" (heads, n), summing to 1 per row
    raises : JobError for "row" with layers of different grids
    """
    n = max(tokens)
    rows = [e + math.log(n / size) for e, size in zip(entropies, tokens, strict=True)]
    if settings.weighting == "row":
        if len(set(tokens)) > 1:
            raise JobError(
                "weighting",
                "Weights per row need layers of one grid: choose another weighting or layers "
                "of one resolution.",
            )
        weights = (-torch.cat(rows) / settings.temperature).softmax(0)
    else:
        weights = _weights(torch.cat([e.mean(1) for e in rows]), n, settings)
    return list(torch.split(weights, [len(e) for e in entropies]))


def _weights(entropy: Tensor, tokens: int, settings: Nerve) -> Tensor:
    """(heads,) weights, of sum 1, from the heads' mean entropies."""
    if settings.weighting == "exp":
        return (-entropy / settings.temperature).softmax(0)
    weights = torch.ones_like(entropy)
    if settings.weighting == "linear" and tokens > 1:
        weights = (1 - entropy / math.log(tokens)).clamp(min=0)
    elif settings.weighting == "inverse":
        weights = 1 / entropy.clamp(min=_TINY)
    elif settings.weighting == "lowest":
        order = entropy.argsort(stable=True)
        weights = torch.zeros_like(entropy)
        weights[order[: settings.lowest]] = 1
    total = weights.sum()
    # Heads that all look everywhere alike leave nothing to weigh by.
    return weights / total if total > _TINY else torch.full_like(entropy, 1 / len(entropy))


def build(
    queries: Sequence[Tensor],
    keys: Sequence[Tensor],
    grids: Sequence[Grid],
    scales: Sequence[float],
    settings: Nerve,
    *,
    budget: int = BUDGET,
) -> Graph:
    """The graph of an image from the attention of the diffusion model (steps B to D).

    Needs of the settings only weighting, temperature, lowest, local, radius, cleanup and cleaned.
    A layer with fewer tokens is brought to the finest grid as `walk.Coarse` says, its heads cleaned
    on its own grid before. S_local is of the attention before any clean-up.

    queries, keys : per layer (heads, n, d), n = h * w
    grids : per layer (h, w); the one with most tokens is the graph's
    scales : per layer, of the logits
    budget : bytes up to which the (N, N) attention is formed, 4 N^2 in single precision
    raises : ImageError if the attention is not finite
    """
    entropies, sums = [], []
    for q, k, scale in zip(queries, keys, scales, strict=True):
        found = scan(q, k, scale=scale)
        if not found.entropy.isfinite().all():
            raise ImageError(
                "The diffusion model's attention of this image is not finite: run it in float32, "
                "or choose another model."
            )
        entropies.append(found.entropy)
        sums.append(found.logsumexp)
    tokens = [h * w for h, w in grids]
    weights = head_weights(entropies, tokens, settings)
    finest = grids[tokens.index(max(tokens))]

    def source(mixed: Callable[..., Mixture]) -> Streamed:
        mixtures: dict[Grid, list[Mixture]] = {}
        for *layer, grid, scale in zip(queries, keys, sums, weights, grids, scales, strict=True):
            mixtures.setdefault(grid, []).append(mixed(*layer, scale=scale))
        coarse = (_coarse(of, grid, finest) for grid, of in mixtures.items() if grid != finest)
        return Streamed(_join(mixtures[finest]), tuple(coarse))

    graph = _graph(source(mix), finest, settings, budget)
    if settings.cleanup is None or settings.cleaned == "mean":
        return graph
    return _fed(graph, source(partial(mix_cleaned, threshold=settings.cleanup)))


def gaussian(
    grid: Grid, sigma: float, *, radius: int = 1, budget: int = BUDGET, like: Tensor | None = None
) -> Graph:
    """The isotropic rival: neighbours weigh exp(-distance^2 / (2 sigma^2)), whatever the image.

    grid : (h, w)
    sigma : in tokens, above 0
    like : a tensor whose device and dtype the graph takes, float32 on the processor by default
    """
    like = torch.zeros(()) if like is None else like
    y, x = (
        (torch.arange(side, dtype=like.dtype, device=like.device) - (side - 1) / 2) / sigma
        for side in grid
    )
    place = torch.stack(torch.meshgrid(y, x, indexing="ij"), -1).view(1, -1, 2)
    # The square of the row's own place cancels in the softmax.
    square = -place.square().sum(-1, keepdim=True) / 2
    queries = torch.cat([place, torch.ones_like(square)], -1)
    settings = Nerve(weighting="equal", radius=radius)
    keys = torch.cat([place, square], -1)
    return build([queries], [keys], [grid], [1.0], settings, budget=budget)


def nerve(
    labels: Tensor, graph: Graph, settings: Nerve, check: Callable[[], None] | None = None
) -> Tensor:
    """P (N, C), the labels G (N, C) of `node_labels` after the walk (step E).

    check : called before every step; what it raises ends the walk
    """
    return walk(
        labels,
        graph,
        alpha=settings.alpha,
        beta=settings.beta,
        steps=settings.steps,
        tolerance=settings.tolerance,
        form=settings.form,
        check=check,
    ).labels


def class_maps(
    walked: Tensor, labels: Tensor, grid: Grid, settings: Nerve, *, background: bool
) -> Tensor:
    """Scores of the classes on the graph's grid (step F), to be resized and decided by argmax.

    Without background P itself. With it CLIPer's rule (docs/methods/nerve.md#cliper): a class's
    score is the mean of its maxima in P and in G; its map is P divided by its maximum, times the
    score; a class whose score is not above `score_threshold` is zero everywhere. With `stretch` the
    map is taken between its extremes after that, so that the score cancels and decides only whether
    the class is there. The background then competes as `background_score` says, at any
    resolution.

    walked, labels : (N, C), P and G
    returns : (C, h, w), 0..1
    """
    maps = walked.mT.reshape(-1, *grid)
    if not background:
        return maps
    top = walked.amax(0)
    score = (top + labels.to(walked).amax(0)) / 2
    low, height = torch.zeros_like(top), score
    if settings.stretch:
        low, height = walked.amin(0), torch.ones_like(score)
    height = height * (score > settings.score_threshold)
    width = (top - low).clamp(min=torch.finfo(top.dtype).tiny)
    return (maps - low[:, None, None]) * (height / width)[:, None, None]


def background_score(maps: Tensor, settings: Nerve) -> Tensor:
    """The score that a class must exceed at a pixel, else it is empty.

    Just below `background_threshold`, so that a class that reaches it wins; (1 - max)^2 if the
    threshold is 0.

    maps : (C, Y, X) of `class_maps` with background, resized
    returns : (Y, X), for `labels.decide`
    """
    best = maps.amax(0)
    if settings.background_threshold == 0:
        return (1 - best).square()
    least = torch.tensor(settings.background_threshold, dtype=best.dtype, device=best.device)
    return torch.nextafter(least, torch.zeros_like(least)).expand_as(best)


def attention_on(
    graph: Graph, grid: Grid, window: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 1.0)
) -> Tensor:
    """The graph's global attention between the patches of a CLIP window, for FreeCP.

    R A Rᵀ with R the bilinear reading of the window's patches off the graph's grid, rows made to
    sum to 1. `freecp.affinity(attention_on(...)[None], prefix=0)` is what `freecp.refine` takes.

    grid : (h, w) of the window's patches, n = h * w
    window : (y0, x0, y1, x1) in shares of the image's height and width
    returns : (n, n)
    """
    height, width = graph.grid
    y0, x0, y1, x1 = window
    y = resampling(grid[0], height, y0 * height, y1 * height).to(graph.stencil)
    x = resampling(grid[1], width, x0 * width, x1 * width).to(graph.stencil)
    n = graph.tokens
    columns = torch.cat(
        [
            (y @ graph.rows(part).view(-1, height, width) @ x.mT).flatten(1)
            for part in blocks(n, n, graph.stencil.device)
        ]
    )
    out = (y @ columns.mT.reshape(-1, height, width) @ x.mT).flatten(1).mT
    return out / out.sum(1, keepdim=True)


def _join(parts: list[Mixture]) -> Mixture:
    """Mixtures of one grid as one; narrower heads are filled up with zeros."""
    if len(parts) == 1:
        return parts[0]
    width = max(part.keys.shape[2] for part in parts)
    queries, keys = (
        torch.cat([F.pad(x, (0, width - x.shape[2])) for x in side])
        for side in ([p.queries for p in parts], [p.keys for p in parts])
    )
    cuts = [part.cut for part in parts if part.cut is not None]
    if not cuts:
        return Mixture(queries, keys)
    whole = (torch.cat(side) for side in zip(*(cut[1:] for cut in cuts), strict=True))
    return Mixture(queries, keys, Cut(cuts[0].threshold, *whole))


def _coarse(parts: list[Mixture], grid: Grid, finest: Grid) -> Coarse:
    joined = _join(parts)
    y, x = (resampling(f, g).to(joined.keys) for f, g in zip(finest, grid, strict=True))
    return Coarse(joined.dense(), y, x)


def _graph(source: Streamed, grid: Grid, settings: Nerve, budget: int) -> Graph:
    """Form A, or look at it once as it passes, and take the neighbourhood's weights from it."""
    n = grid[0] * grid[1]
    keys = source.mixture.keys
    dense = keys.new_empty(n, n) if keys.element_size() * n * n <= budget else None
    window = offsets(grid, settings.radius)
    stencil = keys.new_zeros(len(window), n)
    cleanup = settings.cleanup if settings.cleaned == "mean" else None
    columns = keys.new_zeros(n)
    index = torch.arange(n, device=keys.device)
    for part in blocks(n, n, keys.device):
        rows = source.rows(part, None if dense is None else dense[part])
        if cleanup is not None:
            torch.maximum(columns, rows.amax(0), out=columns)
        for weight, (dy, dx) in zip(stencil, window, strict=True):
            at = (index[part] + dy * grid[1] + dx).clamp(0, n - 1)
            weight[part] = rows.gather(1, at[:, None])[:, 0]
    graph = Graph(grid, settings.radius, stencil, dense, None if dense is not None else source)
    if settings.local == "rows":
        stencil.copy_((_likeness(graph) / _ROWS_TEMPERATURE).exp())
    _normalise(stencil, grid, window)
    if cleanup is None:
        return graph
    return _cleaned(graph, Cleanup(cleanup, columns, keys.new_ones(n)))


def _fed(graph: Graph, source: Streamed) -> Graph:
    """The same graph with another global part."""
    if graph.dense is None:
        return replace(graph, streamed=source)
    for part in blocks(graph.tokens, graph.tokens, graph.stencil.device):
        source.rows(part, graph.dense[part])
    return graph


def _cleaned(graph: Graph, cleanup: Cleanup) -> Graph:
    """The same graph with its global part cleaned as a whole."""
    n = graph.tokens
    sums = torch.cat(
        [cleanup.cut(graph.rows(part).clone()).sum(1) for part in blocks(n, n, cleanup.rows.device)]
    )
    cleanup = cleanup._replace(rows=sums)
    if graph.dense is not None:
        for part in blocks(n, n, sums.device):
            cleanup.apply(graph.dense[part], part)
        return graph
    assert graph.streamed is not None
    streamed = Streamed(graph.streamed.mixture, graph.streamed.coarse, cleanup)
    return Graph(graph.grid, graph.radius, graph.stencil, None, streamed)


def _normalise(stencil: Tensor, grid: Grid, window: list[tuple[int, int]]) -> None:
    """Make a token's weights sum to 1 inside the image; where all are zero, make them equal."""
    for weight, offset in zip(stencil, window, strict=True):
        weight *= inside(grid, offset, stencil.device)
    empty = stencil.sum(0) == 0
    for weight, offset in zip(stencil, window, strict=True):
        weight += inside(grid, offset, stencil.device) & empty
    stencil /= stencil.sum(0)


def _likeness(graph: Graph) -> Tensor:
    """cos(A_i, A_j) of every token and its neighbours: (offsets, N)."""
    n, window = graph.tokens, offsets(graph.grid, graph.radius)
    out = torch.zeros_like(graph.stencil)
    shifts = [dy * graph.grid[1] + dx for dy, dx in window]
    reach = max(shifts, default=0)
    for part in blocks(n, n, out.device):
        first = max(0, part.start - reach)
        rows = F.normalize(graph.rows(slice(first, part.stop)), dim=1)
        # The window is symmetric: offset number o backwards is number -1 - o forwards.
        for o, shift in enumerate(shifts):
            if shift > 0 and part.stop > shift:
                start = max(part.start, shift)
                here, there = rows[start - first :], rows[start - first - shift : -shift]
                cosine = torch.linalg.vecdot(here, there)
                out[o, start - shift : part.stop - shift] = cosine
                out[-1 - o, start : part.stop] = cosine
    return out

"""Scribble-to-object: strokes are carried along the image's graph to the edge of the object.

The walk of one preview::

    seeds = soft shares of the strokes per token, held fast
    p = scribble(graph, seeds, allowed, parameters)     P = alpha S P elsewhere
    p / level of each class                             above 1 inside the object
    up to pixels, sharpened along the image's edges; the best class above 1 takes the pixel

Who speaks against a stroke: strokes of other classes; all tokens beyond the radius, which stay as
they are; and the restart, which at each step ends a share 1 - alpha of the walks at "stays as it
is", so that the present labels win far from a stroke even where nothing else speaks.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage
from torch import Tensor

from ..errors import ImageError
from .attention import blocks
from .nerve import Parameters
from .sharpen import resized, sharpen
from .walk import Graph

Ids = npt.NDArray[np.uint16]
Mask = npt.NDArray[np.bool_]

DEFAULTS = Parameters(alpha=0.9, beta=0.8, steps=20, tolerance=1e-3)


class Proposal(NamedTuple):
    """What a scribble would change.

    mask : (H, W) bool, pixels that change
    labels : (H, W) uint16, the label map with the change made
    """

    mask: Mask
    labels: Ids


def propose(
    strokes: Ids,
    labels: Ids,
    graph: Graph,
    *,
    radius: float,
    locked: Mask | None = None,
    image: npt.NDArray[Any] | None = None,
    parameters: Parameters = DEFAULTS,
) -> Proposal:
    """The objects under the strokes, by the graph of the same image.

    A stroke takes its own unlocked pixels in any case. Beyond, a pixel changes if it is not
    locked, lies within `radius` of a stroke, a class's score there is above 1 (see `levels`) and
    above the other classes', and it hangs together with a stroke of that class.

    strokes : (H, W) ids, 0 where nothing is drawn
    labels : (H, W) ids, the present label map
    graph : of the image, whatever its grid: token (i, j) covers 1 / h by 1 / w of it
    radius : in pixels, not negative
    locked : (H, W), pixels that must not change; None for none
    image : (H, W, 3) uint8 or 0..1, along whose edges the outline is drawn; None leaves it smooth
    raises : ImageError if the maps are not of one shape
    """
    for other in (labels, locked, None if image is None else image[..., 0]):
        if other is not None and other.shape != strokes.shape:
            raise ImageError(
                f"Strokes of {strokes.shape} and a map of {other.shape} pixels do not fit: "
                "scribble on the image that was encoded."
            )
    out = labels.copy()
    drawn = strokes > 0
    if not drawn.any():
        return Proposal(np.zeros(drawn.shape, bool), out)
    box = _around(drawn, radius)
    near = ndimage.distance_transform_edt(~drawn[box]) <= radius
    free = near if locked is None else near & ~locked[box]
    names = np.unique(strokes[drawn])
    scores = _scores(strokes, names, graph, _tokens(box, free, drawn.shape, graph), parameters)
    fine = resized(scores, drawn.shape, box)
    if image is not None:
        token = min(drawn.shape[0] / graph.grid[0], drawn.shape[1] / graph.grid[1])
        fine = sharpen(fine, image[box], token)
    best = fine.argmax(0)
    new = np.where((fine.max(0) > 1) & free, names[best], 0).astype(labels.dtype)
    own = strokes[box]
    new = np.where((own > 0) & free, own, np.where(own > 0, 0, new))
    new = _connected(new, own, names)
    out[box] = np.where(new > 0, new, out[box])
    return Proposal(out != labels, out)


def scribble(graph: Graph, seeds: Tensor, allowed: Tensor, parameters: Parameters) -> Tensor:
    """Label propagation from held seeds: P = alpha S P on free tokens, P = seeds on seeded ones.

    Iterated from P = seeds, at most `steps` times, or until no entry changes by more than
    `tolerance`. Only S between the tokens that take part is formed, so that the cost follows
    their number.

    seeds : (N, C) shares, 0..1, rows of sum <= 1; a row above 0 anywhere is held
    allowed : (N,) bool, tokens that labels may reach; seeds outside are held too, other tokens
        outside are zero
    returns : (N, C) rows of sum <= 1; the rest is "stays as it is"
    """
    index, _, p = _walk(graph, seeds, allowed, parameters)
    return torch.zeros_like(seeds, dtype=p.dtype).index_copy_(0, index, p)


def levels(p: Tensor, held: Tensor, s: Tensor, down: Tensor, right: Tensor) -> Tensor:
    """Per class the share at which its object ends, read off the graph by a sweep.

    Of all sets {tokens with P above a level} that hold the class's seeds, the one is taken whose
    outline crosses the most unlike neighbours and cuts few links: the mean over the outline of
    1 - cos(S_i, S_j), divided by the normalised cut cut / vol(in) + cut / vol(out) of S.

    p : (m, C), held : (m, C) bool, s : (m, m) transition of the tokens that take part
    down, right : (m,) int64, index of the neighbour below and to the right, -1 where there is none
    returns : (C,)
    """
    here = torch.arange(len(s), device=s.device)
    unlike = torch.ones(2, len(s), dtype=s.dtype, device=s.device)
    length = torch.linalg.vector_norm(s, dim=1)
    for part in blocks(len(s), len(s), s.device):
        for found, to in zip(unlike, (down[part], right[part]), strict=True):
            product = torch.linalg.vecdot(s[part], s[to])
            found[part] -= product / (length[part] * length[to]).clamp(min=1e-12)
    there = torch.stack([down, right])
    exists = there >= 0
    a, b = here.expand(2, -1)[exists], there[exists]
    return torch.stack(
        [_level(p[:, c], held[:, c], s, a, b, unlike[exists]) for c in range(p.shape[1])]
    )


def _level(p: Tensor, held: Tensor, s: Tensor, a: Tensor, b: Tensor, unlike: Tensor) -> Tensor:
    """The sweep of one class: sets of the k + 1 highest tokens, k = 0 .. m - 1."""
    order = p.argsort(descending=True, stable=True)
    value, m = p[order], len(p)
    rank = torch.empty_like(order)
    rank[order] = torch.arange(m, device=p.device)
    first = int(rank[held].max()) if held.any() else 0
    if first >= m - 1:
        return value[-1] / 2
    inner, total = _links(s, rank)
    within, volume = inner[order].cumsum(0), total[order].cumsum(0)
    cut = (volume - within).clamp(min=1e-6)
    normalised = cut / volume + cut / (volume[-1] - volume).clamp(min=1e-6)
    near, far = torch.minimum(rank[a], rank[b]), torch.maximum(rank[a], rank[b])
    steps = torch.zeros(2, m, dtype=p.dtype, device=p.device)
    for ends, sign in ((near, 1), (far, -1)):
        steps[0].index_add_(0, ends, sign * unlike)
        steps[1].index_add_(0, ends, torch.full_like(unlike, sign))
    edge, length = steps.cumsum(1)
    quality = edge / length.clamp(min=1) / normalised
    k = first + int(quality[first : m - 1].argmax())
    return (value[k] + value[k + 1]) / 2


def _links(s: Tensor, rank: Tensor) -> tuple[Tensor, Tensor]:
    """(m,) what a token adds to the links inside the set that it joins, and its mean degree."""
    inner, total = torch.zeros(2, len(s), dtype=s.dtype, device=s.device)
    for part in blocks(len(s), len(s), s.device):
        rows = s[part]
        joined = rows * (rank <= rank[part, None])
        columns = rows.sum(0)
        inner += columns - joined.sum(0)
        inner[part] += joined.sum(1)
        total += columns
        total[part] += rows.sum(1)
    return inner, total / 2


def _walk(
    graph: Graph, seeds: Tensor, allowed: Tensor, parameters: Parameters
) -> tuple[Tensor, Tensor, Tensor]:
    """The tokens that take part (m,), S between them (m, m) and their P (m, C)."""
    index = (allowed | (seeds.amax(1) > 0)).nonzero()[:, 0]
    s = graph.transition(parameters.beta, index)
    seeds = seeds[index].to(s)
    free = parameters.alpha * (seeds.amax(1, keepdim=True) == 0)
    now, then = seeds.clone(), torch.empty_like(seeds)
    for _ in range(parameters.steps):
        torch.mm(s, now, out=then)
        then.mul_(free).add_(seeds)
        now, then = then, now
        if parameters.tolerance and float(then.sub_(now).abs().max()) <= parameters.tolerance:
            break
    return index, s, now


def _scores(
    strokes: Ids, names: Ids, graph: Graph, allowed: Mask, parameters: Parameters
) -> npt.NDArray[np.float32]:
    """(C, h, w), P over the level of its class, 0..2: above 1 inside the object."""
    seeds = torch.from_numpy(_shares(strokes, names, graph)).to(graph.stencil)
    index, s, p = _walk(graph, seeds, torch.from_numpy(allowed).to(seeds.device), parameters)
    h, w = graph.grid
    place = torch.full((h + 1, w + 1), -1, device=index.device)
    y, x = index // w, index % w
    place[y, x] = torch.arange(len(index), device=index.device)
    level = levels(p, seeds[index] > 0, s, place[y + 1, x], place[y, x + 1])
    out = torch.zeros_like(seeds)
    out[index] = (p / level.clamp(min=1e-12)).clamp(max=2)
    return out.mT.reshape(-1, h, w).float().cpu().numpy()


def _shares(strokes: Ids, names: Ids, graph: Graph) -> npt.NDArray[np.float32]:
    """(N, C), each class's share of the drawn pixels of a token; zero where none is drawn."""
    y, x = np.nonzero(strokes)
    h, w = graph.grid
    token = (y * h // strokes.shape[0]) * w + x * w // strokes.shape[1]
    code = token * len(names) + np.searchsorted(names, strokes[y, x])
    count = np.bincount(code, minlength=h * w * len(names)).reshape(h * w, -1)
    shares: npt.NDArray[np.float32] = count.astype(np.float32)
    shares /= np.maximum(shares.sum(1, keepdims=True), 1)
    return shares


def _tokens(box: tuple[slice, slice], free: Mask, size: tuple[int, ...], graph: Graph) -> Mask:
    """(N,), tokens with a free pixel."""
    y, x = np.nonzero(free)
    h, w = graph.grid
    out = np.zeros((h, w), bool)
    out[(y + box[0].start) * h // size[0], (x + box[1].start) * w // size[1]] = True
    return out.ravel()


def _around(drawn: Mask, radius: float) -> tuple[slice, slice]:
    """The rectangle around the strokes and all that lies within the radius."""
    reach = int(np.ceil(radius))
    rows, columns = (np.flatnonzero(drawn.any(axis)) for axis in (1, 0))
    return (
        slice(max(0, int(rows[0]) - reach), min(drawn.shape[0], int(rows[-1]) + reach + 1)),
        slice(max(0, int(columns[0]) - reach), min(drawn.shape[1], int(columns[-1]) + reach + 1)),
    )


def _connected(new: Ids, own: Ids, names: Ids) -> Ids:
    """`new` without the parts that touch no stroke of their class."""
    out = np.zeros_like(new)
    for name in names:
        parts, count = ndimage.label(new == name)
        keep = np.zeros(count + 1, bool)
        keep[parts[own == name]] = True
        keep[0] = False
        out[keep[parts]] = name
    return out

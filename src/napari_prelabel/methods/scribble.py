"""Scribble-to-object: strokes are carried along the image's graph to the edge of the object.

The walk of one preview::

    seeds = soft shares of the strokes per token, held fast
    p = scribble(graph, seeds, allowed, settings)     P = alpha S P elsewhere
    p / level of each class                             above 1 inside the object
        level: where the graph is thinnest, but no lower than FLOOR of what lies beside the stroke
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

from ..values.errors import ImageError
from ..values.settings import Nerve
from .attention import blocks
from .sharpen import resized, sharpen
from .walk import Graph

Ids = npt.NDArray[np.uint16]
Mask = npt.NDArray[np.bool_]

# Chosen on validation scenes by `python -m benchmarks.scribble sweep`.
DEFAULTS = Nerve(alpha=0.9, beta=0.8, steps=20, tolerance=1e-3)
# Share of the highest score beside the stroke below which no object goes on.
FLOOR = 0.2


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
    settings: Nerve = DEFAULTS,
    floor: float = FLOOR,
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
    floor : see `carry`
    raises : ImageError if the maps are not of one shape
    """
    for other in (labels, locked, None if image is None else image[..., 0]):
        if other is not None and other.shape != strokes.shape:
            raise ImageError(
                f"Strokes of {strokes.shape} and a map of {other.shape} pixels do not fit: "
                "scribble on the image that was encoded."
            )
    ids = carry(
        strokes, graph, radius=radius, locked=locked, image=image, settings=settings,
        floor=floor,
    )  # fmt: skip
    out = np.where(ids > 0, ids, labels)
    return Proposal(out != labels, out)


def carry(
    strokes: Ids,
    graph: Graph,
    *,
    radius: float,
    corner: tuple[int, int] = (0, 0),
    size: tuple[int, int] | None = None,
    locked: Mask | None = None,
    image: npt.NDArray[Any] | None = None,
    settings: Nerve = DEFAULTS,
    floor: float = FLOOR,
) -> Ids:
    """The ids that strokes take, as `propose`, in a part of an image: nothing is as large as it.

    strokes, locked, image : (h, w), (h, w), (h, w, 3) of the part
    corner, size : (y, x) of the part in the image of (H, W) pixels; None for the whole image
    floor : an object ends at the latest where a class falls below this share of its highest score
        beside the stroke, 0..1
    returns : (h, w), 0 where nothing changes
    """
    size = (strokes.shape[0], strokes.shape[1]) if size is None else size
    out = np.zeros_like(strokes)
    if not strokes.any():
        return out
    box = _around(strokes > 0, radius)
    own = strokes[box]
    near = ndimage.distance_transform_edt(own == 0) <= radius
    free = near if locked is None else near & ~locked[box]
    names = np.unique(own[own > 0])
    place = _Place(box[0].start + corner[0], box[1].start + corner[1], size)
    scores = _scores(own, free, names, graph, place, settings, floor)
    fine = resized(scores, size, place.slices(own.shape))
    if image is not None:
        token = min(size[0] / graph.grid[0], size[1] / graph.grid[1])
        fine = sharpen(fine, image[box], token)
    best = fine.argmax(0)
    new = np.where((fine.max(0) > 1) & free, names[best], 0).astype(strokes.dtype)
    new = np.where((own > 0) & free, own, np.where(own > 0, 0, new))
    out[box] = _connected(new, own, names)
    return out


def scribble(graph: Graph, seeds: Tensor, allowed: Tensor, settings: Nerve) -> Tensor:
    """Label propagation from held seeds: P = alpha S P on free tokens, P = seeds on seeded ones.

    Iterated from P = seeds, at most `steps` times, or until no entry changes by more than
    `tolerance`. Only S between the tokens that take part is formed, so that the cost follows
    their number.

    seeds : (N, C) shares, 0..1, rows of sum <= 1; a row above 0 anywhere is held
    allowed : (N,) bool, tokens that labels may reach; seeds outside are held too, other tokens
        outside are zero
    returns : (N, C) rows of sum <= 1; the rest is "stays as it is"
    """
    index, _, p = _walk(graph, seeds, allowed, settings)
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
    graph: Graph, seeds: Tensor, allowed: Tensor, settings: Nerve
) -> tuple[Tensor, Tensor, Tensor]:
    """The tokens that take part (m,), S between them (m, m) and their P (m, C)."""
    index = (allowed | (seeds.amax(1) > 0)).nonzero()[:, 0]
    s = graph.transition(settings.beta, index)
    seeds = seeds[index].to(s)
    free = settings.alpha * (seeds.amax(1, keepdim=True) == 0)
    now, then = seeds.clone(), torch.empty_like(seeds)
    for _ in range(settings.steps):
        torch.mm(s, now, out=then)
        then.mul_(free).add_(seeds)
        now, then = then, now
        if settings.tolerance and float(then.sub_(now).abs().max()) <= settings.tolerance:
            break
    return index, s, now


class _Place(NamedTuple):
    """Where a box begins in an image of (H, W) pixels."""

    y: int
    x: int
    size: tuple[int, int]

    def slices(self, shape: tuple[int, ...]) -> tuple[slice, slice]:
        return slice(self.y, self.y + shape[0]), slice(self.x, self.x + shape[1])

    def tokens(
        self, y: npt.NDArray[np.intp], x: npt.NDArray[np.intp], grid: tuple[int, int]
    ) -> npt.NDArray[np.intp]:
        """Number of the token that covers each pixel (y, x) of the box."""
        row = (y + self.y) * grid[0] // self.size[0]
        column = (x + self.x) * grid[1] // self.size[1]
        found: npt.NDArray[np.intp] = row * grid[1] + column
        return found


def _scores(
    strokes: Ids,
    free: Mask,
    names: Ids,
    graph: Graph,
    place: _Place,
    settings: Nerve,
    floor: float,
) -> npt.NDArray[np.float32]:
    """(C, h, w), P over the level of its class, 0..2: above 1 inside the object."""
    seeds = torch.from_numpy(_shares(strokes, names, graph, place)).to(graph.stencil)
    allowed = torch.zeros(graph.tokens, dtype=torch.bool)
    rows, columns = np.nonzero(free)
    allowed[torch.from_numpy(place.tokens(rows, columns, graph.grid))] = True
    index, s, p = _walk(graph, seeds, allowed.to(seeds.device), settings)
    h, w = graph.grid
    at = torch.full((h + 1, w + 1), -1, device=index.device)
    y, x = index // w, index % w
    at[y, x] = torch.arange(len(index), device=index.device)
    held = seeds[index] > 0
    level = levels(p, held, s, at[y + 1, x], at[y, x + 1])
    beside = p.masked_fill(held.any(1, keepdim=True), 0).amax(0)
    level = torch.maximum(level, floor * beside)
    out = torch.zeros_like(seeds)
    out[index] = (p / level.clamp(min=1e-12)).clamp(max=2)
    return out.mT.reshape(-1, h, w).float().cpu().numpy()


def _shares(strokes: Ids, names: Ids, graph: Graph, place: _Place) -> npt.NDArray[np.float32]:
    """(N, C), each class's share of the drawn pixels of a token; zero where none is drawn."""
    y, x = np.nonzero(strokes)
    code = place.tokens(y, x, graph.grid) * len(names) + np.searchsorted(names, strokes[y, x])
    count = np.bincount(code, minlength=graph.tokens * len(names)).reshape(graph.tokens, -1)
    shares: npt.NDArray[np.float32] = count.astype(np.float32)
    shares /= np.maximum(shares.sum(1, keepdims=True), 1)
    return shares


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

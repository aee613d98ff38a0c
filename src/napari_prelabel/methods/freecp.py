"""FreeCP (Chen et al., ICCV 2025): refine class maps with CLIP's own attention, then purify.

The walk, over the windows of an image (B windows, C classes, grid h x w, N = h * w)::

    p = class_probability(logits, owner, C)      softmax over all queries, step 1
    s = affinity(attention)                      once per window, whatever the words, 2
    r = refine(p, s, C)                          CLIP-ES refinement, step 3
    plan = find(r, p[:, :C], settings)         redundancy, then ambiguity, 4 and 5
    r = plan.finish(cls rows of plan.crops, description rows)
    # blend the windows, then background_score or fill_empty, 6

Where the paper and the published code differ, "code" is the default and "paper" the named
alternative; docs/methods/freecp.md has the table, the equations and the numbers of the steps.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import torch
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from ..values.settings import FreeCP, Wording
from .boxes import box_masks, contour_boxes
from .linear import linear_each

_EPS = 1e-8
# Numbers that `similarity` compares at once: small enough for a cache, whatever the vocabulary.
_AT_ONCE = 1 << 21
_SLACK = 1.001


class Crop(NamedTuple):
    """A box that CLIP is asked about: a window's index and a half-open rectangle in patches."""

    window: int
    y0: int
    x0: int
    y1: int
    x1: int

    def pixels(self, patch: int, origin: tuple[int, int] = (0, 0)) -> tuple[int, int, int, int]:
        """(y0, x0, y1, x1) in pixels, `origin` (y, x) being the window's first pixel."""
        y, x = origin
        return (
            y + self.y0 * patch,
            x + self.x0 * patch,
            y + self.y1 * patch,
            x + self.x1 * patch,
        )


@dataclass(frozen=True, slots=True)
class Group:
    """Classes whose refined maps can hardly be told apart.

    window : index of the window, None with scope "image": all windows.
    classes : channels, ascending, at least two.
    crops : indices into `Plan.crops`; none if the group is kept as it is.
    """

    window: int | None
    classes: tuple[int, ...]
    crops: tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """What purification has decided, and what it still has to ask of CLIP.

    refined : (B, C, h, w), redundant classes already zero
    kept : (B, C) bool, classes that survived redundancy purification
    groups : the ambiguous groups
    crops : every box that has to be looked at, once, however many groups ask for it
    """

    refined: Tensor
    kept: Tensor
    groups: tuple[Group, ...]
    crops: tuple[Crop, ...]
    losers: Literal["window", "box"] = "window"

    def finish(self, cls: Tensor | None = None, descriptions: Tensor | None = None) -> Tensor:
        """Let each crop choose the class of its group that describes it best (step 5).

        cls : (len(crops), E) vanilla CLS rows of the crops; may be left out without crops
        descriptions : (C, E) unit rows, one per class
        returns : (B, C, h, w), the losers zero
        raises : ValueError if the rows do not fit the crops
        """
        rows = 0 if cls is None else len(cls)
        if rows != len(self.crops):
            raise ValueError(f"{len(self.crops)} crops need as many CLS rows, not {rows}.")
        if cls is None or descriptions is None or not self.crops:
            return self.refined
        scores = cls.to(descriptions.dtype) @ descriptions.mT
        out = self.refined.clone()
        for group in self.groups:
            if group.crops:
                votes = scores[list(group.crops)][:, list(group.classes)].argmax(1).tolist()
                self._drop(out, group, [group.classes[vote] for vote in votes])
        return out

    def close_calls(self, cls: Tensor, descriptions: Tensor, slack: float) -> list[int]:
        """Crops whose winner could change if their CLS rows were off by `slack` towards a rival.

        cls, descriptions : as in `finish`
        slack : length of the error along any one direction, in units of the unit rows
        returns : indices into `crops`, ascending
        """
        scores = cls.to(descriptions.dtype) @ descriptions.mT
        close: set[int] = set()
        for group in self.groups:
            members, crops = list(group.classes), list(group.crops)
            if not crops:
                continue
            rows = descriptions[members]
            mine = scores[crops][:, members]
            best = mine.argmax(1)
            lead = mine.gather(1, best[:, None]) - mine
            apart = torch.cdist(rows, rows)[best]
            rivals = (lead <= slack * apart) & (apart > 0)
            close.update(k for k, near in zip(crops, rivals.any(1).tolist(), strict=True) if near)
        return sorted(close)

    def _drop(self, out: Tensor, group: Group, winners: Sequence[int]) -> None:
        if self.losers == "window":
            losers = [c for c in group.classes if c not in winners]
            if group.window is None:
                out[:, losers] = 0
            else:
                out[group.window, losers] = 0
            return
        asked = [self.crops[k] for k in group.crops]
        for window in {crop.window for crop in asked}:
            covered = torch.zeros(out.shape[1:], dtype=torch.bool)
            won = torch.zeros_like(covered)
            for crop, winner in zip(asked, winners, strict=True):
                if crop.window == window:
                    box = np.s_[crop.y0 : crop.y1, crop.x0 : crop.x1]
                    covered[list(group.classes), *box] = True
                    won[winner, *box] = True
            out[window].masked_fill_((covered & ~won).to(out.device), 0)


def class_probability(
    logits: Tensor, owner: Tensor, n_classes: int, known: Sequence[int] | None = None
) -> Tensor:
    """Softmax over all queries, then the maximum over the queries of one class (step 1).

    logits : (B, Q, h, w), scaled cosines of patches and queries
    owner : (Q,) int64, the channel of each query: 0 .. C-1 for the names of a class, C and above
        for background words, each a channel of its own
    known : the classes that are known to occur; the queries of the others take no part
    returns : (B, C + background, h, w), 0..1, zero for classes that are not known
    """
    channels = n_classes + int((owner >= n_classes).sum())
    if known is not None:
        allowed = torch.zeros(channels, dtype=torch.bool)
        allowed[list(known)] = True
        allowed[n_classes:] = True
        if not allowed.any():
            return _real(logits).new_zeros(len(logits), channels, *logits.shape[2:])
        logits = logits.masked_fill(~allowed.to(owner.device)[owner][:, None, None], -torch.inf)
    p = _real(logits).softmax(1)
    if torch.equal(owner, torch.arange(channels, device=owner.device)):
        return p
    index = owner[None, :, None, None].expand_as(p)
    empty = p.new_zeros(len(p), channels, *p.shape[2:])
    return empty.scatter_reduce(1, index, p, "amax")


def affinity(attention: Tensor, *, wording: Wording = "code", prefix: int = 1) -> Tensor:
    """How much each patch takes from each other patch (step 2).

    "code": three rounds of dividing by column sums, then row sums; then (T + T^T) / 2. The
    published T is the square of what is returned: `refine` multiplies twice instead.
    "paper": the attention as it is.

    attention : (B, prefix + N, prefix + N), mean over layers 1 .. L-1 and heads
    prefix : leading tokens that are no patches (CLS)
    returns : (B, N, N) float32, or float64 if the attention is
    """
    a = _real(attention[:, prefix:, prefix:])
    if wording == "paper":
        return a
    # Scalings r of the rows and c of the columns by vectors only, kept as (B, 1, N).
    r = torch.ones_like(a[:, :1])
    for _ in range(3):
        c = _inverse(r @ a)
        r = _inverse(c @ a.mT)
    t = a * (r / 2).mT * c
    return t + t.mT


def refine(
    probability: Tensor,
    affinities: Tensor,
    n_classes: int,
    *,
    box_threshold: float = 0.40,
    wording: Wording = "code",
    known: Sequence[int] | None = None,
) -> Tensor:
    """Spread the maps of all classes along the affinity (step 3).

    "code": R_c = S S (m_c * p^_c), p^ min-max normalised over all channels and positions of the
    window, m_c the union of the boxes of p^_c. "paper": R_c = A p^_c, without boxes. Then every
    map is min-max normalised by itself. Background channels count in p^ only.

    probability : (B, C + background, h, w)
    affinities : (B, N, N) from `affinity` with the same wording
    known : as in `class_probability`; the maps of the other classes are zero
    returns : (B, C, h, w), 0..1
    """
    p = _real(probability)
    b, _, h, w = p.shape
    out = p.new_zeros(b, n_classes, h, w)
    chosen = list(range(n_classes)) if known is None else sorted(known)
    if not chosen:
        return out
    maps = _stretch(p[:, [*chosen, *range(n_classes, p.shape[1])]], (1, 2, 3), 0)
    maps = maps[:, : len(chosen)]
    if wording == "code":
        inside = box_masks(_grey(maps).reshape(-1, h, w), box_threshold)
        maps = maps * torch.from_numpy(inside).to(maps.device).view(maps.shape)
    x = maps.reshape(b, len(chosen), h * w)
    lit = x.any(2).any(0)
    x = linear_each(x[:, lit], affinities)
    if wording == "code":
        x = linear_each(x, affinities)
    index = torch.tensor(chosen, device=p.device)[lit]
    out[:, index] = _stretch(x, (2,), _EPS).view(b, len(index), h, w)
    return out


def overlap(probability: Tensor, refined: Tensor, wording: Wording = "code") -> Tensor:
    """Agreement of maps before and after refinement (step 4).

    "code": sum(p r) / (sum p + sum r); "paper" also subtracts sum(p r) below: a true IoU.

    probability, refined : (..., C, N); probability is the softmax, not stretched
    returns : (..., C), 0..0.5 for "code", 0..1 for "paper"
    """
    both = (probability * refined).sum(-1)
    total = probability.sum(-1) + refined.sum(-1)
    if wording == "paper":
        total = total - both
    return both / (total + _EPS)


def similarity(maps: Tensor, at_least: float, wording: Wording = "code") -> Tensor:
    """Pairs of maps that are alike (step 5).

    "code": sum min / sum max (Ruzicka); "paper": sum(a b) / (sum a + sum b - sum(a b)).

    maps : (K, N), 0..1, each with something above 0
    returns : (pairs, 2) int64, i < j, of the pairs whose similarity is `at_least` that
    """
    total = maps.sum(1)
    if wording == "paper":
        both = maps @ maps.mT
        close = both / (total[:, None] + total - both) >= at_least
        return close.triu(1).nonzero()
    # sum min / sum max is at most the ratio of the sums: sorted, few columns can be alike.
    total, order = total.sort()
    maps = maps[order]
    step = min(16, _AT_ONCE // max(1, maps.numel()) + 1)
    found = []
    for start in range(0, len(maps), step):
        rows = slice(start, start + step)
        largest = total[rows][-1] / at_least * _SLACK
        columns = slice(start, int(torch.searchsorted(total, largest, right=True)))
        both = torch.minimum(maps[rows, None], maps[None, columns]).sum(2)
        either = total[rows, None] + total[columns] - both
        found.append((both / either >= at_least).triu(1).nonzero() + start)
    if not found:
        return order.new_zeros(0, 2)
    return order[torch.cat(found)].sort(1).values


def find(refined: Tensor, probability: Tensor, settings: FreeCP) -> Plan:
    """Purify as far as maps alone allow, and list the crops that the rest needs.

    Any number of windows; with scope "image" they must be all windows of one image.

    refined : (B, C, h, w) from `refine`
    probability : (B, C, h, w), the same classes before refinement
    """
    b, c, h, w = refined.shape
    r = refined.reshape(b, c, h * w)
    p = probability.reshape(b, c, h * w).to(r.dtype)
    if settings.scope == "image":
        r, p = (x.transpose(0, 1).reshape(1, c, -1) for x in (r, p))
    if settings.redundancy:
        kept = overlap(p, r, settings.overlap) > settings.rp_threshold
    else:
        kept = r.any(2)
    out = refined * kept[:, :, None, None]
    found = _ambiguous(r, kept, settings) if settings.ambiguity else []
    groups, crops = _boxes_to_ask(out, found, settings)
    return Plan(out, kept.expand(b, c), groups, crops, settings.losers)


def background_score(scores: Tensor) -> Tensor:
    """1 - max over classes, the score of "none of them" (step 6).

    scores : (C, Y, X) blended refined maps, 0..1
    returns : (Y, X)
    """
    return 1 - scores.amax(0)


def fill_empty(scores: Tensor, probability: Tensor) -> Tensor:
    """Where every class was removed, put the base's probabilities in (empty_pixel "base").

    Without it such a pixel falls to the first class, as in the published code.

    scores, probability : (C, Y, X)
    """
    return torch.where(scores.amax(0) > 0, scores, probability.to(scores.dtype))


def _ambiguous(maps: Tensor, kept: Tensor, settings: FreeCP) -> list[tuple[int, tuple[int, ...]]]:
    """Connected components, of two classes or more, of the graph of similar kept maps."""
    samples, classes = kept.shape
    edges = []
    for s in range(samples):
        members = kept[s].nonzero()[:, 0]
        pairs = similarity(maps[s, members], settings.ap_threshold, settings.similarity)
        edges.append((s * classes + members[pairs]).cpu().numpy())
    i, j = np.concatenate(edges).T
    size = samples * classes
    graph = coo_array((np.ones(len(i), bool), (i, j)), (size, size))
    _, label = connected_components(graph, directed=False)
    order = np.argsort(label, kind="stable")
    parts = np.split(order, np.flatnonzero(np.diff(label[order])) + 1)
    return sorted(
        (int(part[0]) // classes, tuple(int(n) % classes for n in part))
        for part in parts
        if len(part) > 1
    )


def _boxes_to_ask(
    refined: Tensor, found: list[tuple[int, tuple[int, ...]]], settings: FreeCP
) -> tuple[tuple[Group, ...], tuple[Crop, ...]]:
    """Boxes of the mean maps of the groups; equal boxes of a window share one crop.

    In the published code an empty box keeps its whole group, so no other box of it can matter.
    With scope "image" or losers "box" an empty box is no vote.
    """
    if not found:
        return (), ()
    image = settings.scope == "image"
    windows = [list(range(len(refined))) if image else [s] for s, _ in found]
    fused = [
        refined[where][:, list(classes)].mean(1)
        for where, (_, classes) in zip(windows, found, strict=True)
    ]
    boxes = contour_boxes(_grey(torch.cat(fused)), settings.box_threshold)
    owner = [(g, window) for g, where in enumerate(windows) for window in where]
    empty_keeps = not image and settings.losers == "window"
    asked: list[list[Crop]] = [[] for _ in found]
    settled = [False] * len(found)
    for m, y0, x0, y1, x1 in boxes.tolist():
        g, window = owner[m]
        if y0 < y1 and x0 < x1:
            asked[g].append(Crop(window, y0, x0, y1, x1))
        elif empty_keeps:
            settled[g] = True
    asked = [[] if done else crops for done, crops in zip(settled, asked, strict=True)]
    number = {crop: k for k, crop in enumerate(sorted({c for crops in asked for c in crops}))}
    groups = tuple(
        Group(None if image else s, classes, tuple(number[crop] for crop in crops))
        for (s, classes), crops in zip(found, asked, strict=True)
    )
    return groups, tuple(number)


def _real(x: Tensor) -> Tensor:
    return x if x.dtype == torch.float64 else x.float()


def _inverse(x: Tensor) -> Tensor:
    """1 / x, and 0 where a patch neither gives nor takes anything."""
    return torch.where(x > 0, 1 / x, 0)


def _stretch(x: Tensor, dims: tuple[int, ...], eps: float) -> Tensor:
    """(x - min) / (max - min + eps) over `dims`; a constant gives 0."""
    low = x.amin(dims, keepdim=True)
    width = x.amax(dims, keepdim=True) - low + eps
    return (x - low) / torch.where(width > 0, width, 1)


def _grey(maps: Tensor) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """Maps 0..1 as whole grey levels 0..255, rounded down."""
    return (maps * 255).to(torch.uint8).cpu().numpy()

"""A graph on the tokens of an image, and the walk with restart on it (docs/methods/nerve.md#graph).

    S = beta A + (1 - beta) S_local          A the weighted attention, S_local its neighbourhood
    P_l = (1 - alpha) G + alpha S P_{l-1}    all classes in one product

A is held whole where it fits a budget (N = 4096: 64 MiB) and is otherwise formed a block of rows
at a time in every step. S_local is a stencil: one row of weights per neighbour.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from ..values.errors import JobError
from ..values.settings import WalkForm
from .attention import Cut, Mixture, blocks
from .linear import linear

Grid = tuple[int, int]


@dataclass(frozen=True, slots=True, eq=False)
class Coarse:
    """Attention of a coarser layer on the finest grid: U M D.

    U reads a token off the coarse grid by bilinear interpolation; D hands the share of a coarse
    token to the tokens that read it, D = diag(1 / column sums of U) Uᵀ. Rows keep their sums.

    map : (n, n), weighted sum of the layer's heads
    y, x : (H, h), (W, w) bilinear interpolation from the coarse grid (h, w) to the fine (H, W)
    """

    map: Tensor
    y: Tensor
    x: Tensor

    def rows(self, part: slice | Tensor) -> Tensor:
        """(len(part), H * W), these rows on the fine grid."""
        columns = len(self.x)
        index = torch.arange(len(self.y) * columns, device=self.map.device)[part]
        up = self.y[index // columns, :, None] * self.x[index % columns, None, :]
        share = (up.flatten(1) @ self.map).view(len(index), self.y.shape[1], self.x.shape[1])
        share = share / self.y.sum(0)[:, None] / self.x.sum(0)
        return (self.y @ share @ self.x.mT).flatten(1)


class Cleanup(NamedTuple):
    """Clean-up of A as a whole: divide by column maxima, drop what is below, make rows sum to 1.

    CLIPer does so with every head before they are averaged: `attention.Cut`.

    threshold : 0..1
    columns : (N,) maxima of the columns
    rows : (N,) sums of the rows after the cut; 0 where a row lost everything: it stays at home
    """

    threshold: float
    columns: Tensor
    rows: Tensor

    def apply(self, rows: Tensor, part: slice | Tensor) -> Tensor:
        """Clean these rows (n, N) of A, in place."""
        self.cut(rows)
        sums = self.rows[part]
        rows /= torch.where(sums > 0, sums, 1)[:, None]
        index = torch.arange(len(self.rows), device=rows.device)[part]
        home = (sums == 0).to(rows.dtype)
        return rows.scatter_add_(1, index[:, None], home[:, None])

    def cut(self, rows: Tensor) -> Tensor:
        rows /= torch.where(self.columns > 0, self.columns, 1)
        return rows.mul_(rows >= self.threshold)


@dataclass(frozen=True, slots=True, eq=False)
class Streamed:
    """The weighted attention A (N, N), not formed: heads of the finest grid and coarser layers."""

    mixture: Mixture
    coarse: tuple[Coarse, ...] = ()
    cleanup: Cleanup | None = None

    def rows(self, part: slice | Tensor, out: Tensor | None = None) -> Tensor:
        out = self.mixture.rows(part, out)
        for layer in self.coarse:
            out += layer.rows(part)
        return out if self.cleanup is None else self.cleanup.apply(out, part)


@dataclass(frozen=True, slots=True, eq=False)
class Graph:
    """What a walk needs of an image, whatever the words: kept between runs.

    grid : (h, w), N = h * w tokens, row by row
    radius : of the local window, in tokens
    stencil : (offsets, N), rows of S_local; zero across the image's border
    dense : (N, N), S_global, or None where it exceeds the budget
    streamed : S_global in the making; not needed where `dense` is there
    """

    grid: Grid
    radius: int
    stencil: Tensor
    dense: Tensor | None
    streamed: Streamed | None = None

    @property
    def tokens(self) -> int:
        return self.grid[0] * self.grid[1]

    def rows(self, part: slice | Tensor) -> Tensor:
        """(n, N), these rows of S_global."""
        if self.dense is not None:
            return self.dense[part]
        assert self.streamed is not None
        return self.streamed.rows(part)

    def step(self, labels: Tensor, restart: Tensor, alpha: float, beta: float, out: Tensor) -> None:
        """out = restart + alpha S labels; all (C, N), a row a class, `out` no view of others."""
        if beta == 0:
            out.zero_()
        elif self.dense is not None:
            out.copy_(linear(labels, self.dense))
        else:
            for part in blocks(self.tokens, self.tokens, labels.device):
                out[:, part] = linear(labels, self.rows(part))
        out.mul_(alpha * beta).add_(restart)
        if beta == 1:
            return
        if self.tokens == 1:
            out.add_(labels, alpha=alpha * (1 - beta))
        shifts = [dy * self.grid[1] + dx for dy, dx in offsets(self.grid, self.radius)]
        for shift, weight in zip(shifts, self.stencil, strict=True):
            here = slice(max(0, -shift), self.tokens - max(0, shift))
            there = slice(max(0, shift), self.tokens - max(0, -shift))
            out[:, here].addcmul_(weight[here], labels[:, there], value=alpha * (1 - beta))

    def transition(self, beta: float, index: Tensor | None = None) -> Tensor:
        """S (N, N), or its rows and columns `index` (n,) int64, ascending."""
        n, device = self.tokens, self.stencil.device
        every = torch.arange(n, device=device)
        index = every if index is None else index
        out = self.stencil.new_zeros(len(index), len(index))
        if beta:
            for part in blocks(len(index), n, device):
                rows = self.rows(part) if len(index) == n else self.rows(index[part])[:, index]
                torch.mul(rows, beta, out=out[part])
        if n == 1:
            return out + (1 - beta)
        place = torch.full_like(every, -1)
        place[index] = every[: len(index)]
        for (dy, dx), weight in zip(offsets(self.grid, self.radius), self.stencil, strict=True):
            to = place[(index + dy * self.grid[1] + dx).clamp(0, n - 1)]
            weight = weight[index] * (to >= 0) * (1 - beta)
            out.scatter_add_(1, to.clamp(min=0)[:, None], weight[:, None])
        return out

    def to_entry(self, *, half: bool = False) -> dict[str, Tensor]:
        """Plain tensors for engine/cache.py.

        half : store S_global in half precision (N = 4096: 32 MiB). A walk that finds such an
            entry differs in the fourth digit from one that does not: where both may happen, walk
            on `Graph.from_entry(entry)` the first time too.
        """
        entry = {"shape": torch.tensor([*self.grid, self.radius]), "stencil": self.stencil}
        if self.dense is not None:
            # Times N: entries around 1 / N would lose digits below the smallest normal number.
            return entry | {"dense": (self.dense * self.tokens).half() if half else self.dense}
        assert self.streamed is not None
        mixture = self.streamed.mixture
        entry |= {"queries": mixture.queries, "keys": mixture.keys}
        if (cut := mixture.cut) is not None:
            entry["cut"] = torch.tensor(cut.threshold, dtype=torch.float64)
            entry |= {f"cut_{name}": getattr(cut, name) for name in ("columns", "shares", "home")}
        for i, layer in enumerate(self.streamed.coarse):
            entry |= {f"map{i}": layer.map, f"y{i}": layer.y, f"x{i}": layer.x}
        if (cleanup := self.streamed.cleanup) is not None:
            threshold = torch.tensor(cleanup.threshold, dtype=torch.float64)
            entry |= {"threshold": threshold, "columns": cleanup.columns, "rows": cleanup.rows}
        return entry

    @classmethod
    def from_entry(cls, entry: Mapping[str, Tensor]) -> "Graph":
        """The graph that `to_entry` has written."""
        h, w, radius = entry["shape"].tolist()
        dense = entry.get("dense")
        if dense is not None:
            if dense.dtype == torch.float16:
                dense = dense.to(entry["stencil"].dtype)
                dense /= dense.sum(1, keepdim=True)
            return cls((h, w), radius, entry["stencil"], dense)
        coarse: list[Coarse] = []
        while f"map{len(coarse)}" in entry:
            coarse.append(Coarse(*(entry[f"{name}{len(coarse)}"] for name in ("map", "y", "x"))))
        cleanup = None
        if "threshold" in entry:
            cleanup = Cleanup(float(entry["threshold"]), entry["columns"], entry["rows"])
        cut = None
        if "cut" in entry:
            kept = (entry[f"cut_{name}"] for name in ("columns", "shares", "home"))
            cut = Cut(float(entry["cut"]), *kept)
        mixture = Mixture(entry["queries"], entry["keys"], cut)
        streamed = Streamed(mixture, tuple(coarse), cleanup)
        return cls((h, w), radius, entry["stencil"], None, streamed)


class Walk(NamedTuple):
    """Where a walk ended, (N, C), and after how many steps (0 for the exact solution)."""

    labels: Tensor
    steps: int


def walk(
    labels: Tensor,
    graph: Graph,
    *,
    alpha: float,
    beta: float,
    steps: int,
    tolerance: float = 0.0,
    form: WalkForm = "restart",
    check: Callable[[], None] | None = None,
) -> Walk:
    """The random walk with restart (docs/methods/nerve.md#walk).

    "restart": P_0 = G, at most alpha^L away from the limit in the maximum norm if G is in 0..1.
    "series": P_0 = (1 - alpha) G, in the end divided by 1 - alpha^(L + 1).
    "exact": (1 - alpha) (I - alpha S)^-1 G, by solving N equations.

    labels : (N, C) node-to-label matrix G, rows of sum <= 1; rows keep that property
    alpha : share of the walk, 0..1; 1 (no restart) only with "restart"
    beta : share of the global part, 0..1
    steps : L, not negative
    tolerance : stop when a step changes no entry by more; 0 does all the steps
    check : called before every step; what it raises ends the walk
    raises : JobError if alpha is 1 and the form needs it below, or "exact" if S is not held whole
    """
    if form != "restart" and not alpha < 1:
        raise JobError("alpha", f"alpha must be below 1 with form {form!r}, or choose 'restart'.")
    g = labels.to(graph.stencil)
    restart = g * (1 - alpha)
    if form == "exact":
        if graph.dense is None:
            raise JobError(
                "form", f"{graph.tokens} equations are too many to solve: choose form 'restart'."
            )
        system = graph.transition(beta).mul_(-alpha)
        system.diagonal().add_(1)
        return Walk(torch.linalg.solve(system, restart), 0)
    restart = restart.mT.contiguous()
    now = restart.clone() if form == "series" else g.mT.clone(memory_format=torch.contiguous_format)
    then = torch.empty_like(now)
    done = 0
    while done < steps:
        if check is not None:
            check()
        graph.step(now, restart, alpha, beta, then)
        now, then = then, now
        done += 1
        if tolerance and float(then.sub_(now).abs().max()) <= tolerance:
            break
    return Walk((now.div_(1 - alpha ** (done + 1)) if form == "series" else now).mT, done)


def offsets(grid: Grid, radius: int) -> list[tuple[int, int]]:
    """(dy, dx) of the window without its centre, those that can lie inside the grid."""
    down, across = (min(radius, side - 1) for side in grid)
    window = [(y, x) for y in range(-down, down + 1) for x in range(-across, across + 1)]
    return [offset for offset in window if offset != (0, 0)]


def inside(grid: Grid, offset: tuple[int, int], device: torch.device) -> Tensor:
    """(N,) bool, tokens whose neighbour at `offset` lies inside the grid."""
    y, x = (
        (torch.arange(side, device=device) + d).clamp(0, side - 1)
        == torch.arange(side, device=device) + d
        for side, d in zip(grid, offset, strict=True)
    )
    return (y[:, None] & x).flatten()


def resampling(size: int, of: int, low: float = 0.0, high: float | None = None) -> Tensor:
    """(size, of) float64 matrix that resamples a row of `of` values bilinearly.

    The `size` cells divide low .. high, in units of the cells read; where they are larger than
    those, the triangle is widened to average. Rows sum to 1.
    """
    width = ((of if high is None else high) - low) / size
    at = low + (torch.arange(size, dtype=torch.float64) + 0.5) * width
    distance = (torch.arange(of, dtype=torch.float64) + 0.5 - at[:, None]).abs()
    weight = (1 - distance / max(width, 1.0)).clamp(min=0)
    return weight / weight.sum(1, keepdim=True)

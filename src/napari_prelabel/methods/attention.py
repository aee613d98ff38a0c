"""The shared primitive: softmax(Q Kᵀ) V, with the weights looked at while they pass.

`attend` is for the short sequences of CLIP's windows. `scan` and `Mixture` are for maps of
thousands of tokens, of which heads x N x N is never held.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

# Numbers of a map that are worked on at once.
_CPU_BLOCK = 1 << 19
_GPU_BLOCK = 1 << 26
# Stands for ln 0 in single precision: its exponential is 0, and its products stay finite.
_LOWEST = -1e4
# What CLIPer adds to the maxima that it divides by.
_CLIPER = 1e-5


def attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    scale: float | None = None,
    bias: Tensor | None = None,
    total: Tensor | None = None,
    total_head0: Tensor | None = None,
) -> Tensor:
    """softmax(scale · Q Kᵀ + bias) V for every head.

    q : (B, H, R, d), k, v : (B, H, T, d), d = width of one head.
    scale : None takes 1 / sqrt(d).
    bias : (R, T) added before the softmax, None for none.
    total : (B, R, T) float32; the weights summed over heads are added to it in place. The same
        weights multiply V, so looking at them costs one sum instead of a second attention.
    total_head0 : (B, R, T) float32; the weights of head 0 are added to it in place.

    Returns
    -------
    (B, H, R, d)
    """
    if total is None and total_head0 is None:
        return F.scaled_dot_product_attention(q, k, v, attn_mask=bias, scale=scale)
    factor = q.shape[-1] ** -0.5 if scale is None else scale
    batch, heads, rows, width = q.shape
    # On a processor one head at a time: its weights stay in the cache and memory does not grow
    # with heads or batch. A GPU takes all heads of a window at once.
    step = 1 if q.device.type == "cpu" else heads
    logits = q.new_empty(step, rows, k.shape[2])
    weights = torch.empty_like(logits)
    out = q.new_empty(batch, rows, heads, width).transpose(1, 2)
    for b, h in product(range(batch), range(0, heads, step)):
        part = slice(h, h + step)
        torch.bmm(q[b, part] * factor, k[b, part].transpose(1, 2), out=logits)
        if bias is not None:
            logits += bias
        torch.softmax(logits, dim=-1, out=weights)
        if total is not None:
            total[b] += weights[0] if step == 1 else weights.sum(0, dtype=total.dtype)
        if total_head0 is not None and h == 0:
            total_head0[b] += weights[0]
        out[b, part] = torch.bmm(weights, v[b, part])
    return out


class Rows(NamedTuple):
    """What one pass over softmax(scale · Q Kᵀ) leaves behind.

    entropy : (H, R), of every row, natural logarithm, 0 .. ln T
    logsumexp : (H, R), of every row of scale · Q Kᵀ
    out : (H, R, e) the product with V, None if no V was given
    """

    entropy: Tensor
    logsumexp: Tensor
    out: Tensor | None


def scan(q: Tensor, k: Tensor, v: Tensor | None = None, *, scale: float | None = None) -> Rows:
    """softmax(scale · Q Kᵀ) V and its row entropies, a block of rows at a time.

    With t = s - max s and z = sum exp t, H = ln z - (sum t exp t) / z: two terms of one sign, so
    that nothing cancels in single precision.

    q : (H, R, d), k : (H, T, d), v : (H, T, e); any real dtype, computed in float32, or in
        float64 if q is.
    scale : None takes 1 / sqrt(d).
    """
    real = _real(q.dtype)
    factor = q.shape[-1] ** -0.5 if scale is None else scale
    heads, rows, _ = q.shape
    entropy = q.new_empty(heads, rows, dtype=real)
    logsumexp = torch.empty_like(entropy)
    out = None if v is None else q.new_empty(heads, rows, v.shape[-1], dtype=real)
    for h in range(heads):
        keys = k[h].to(real).mT
        for part in blocks(rows, k.shape[1], q.device):
            t = (q[h, part].to(real) * factor) @ keys
            top = t.amax(1, keepdim=True)
            e = torch.exp(t.sub_(top))
            z = e.sum(1)
            if out is not None and v is not None:
                torch.div(e @ v[h].to(real), z[:, None], out=out[h, part])
            # A logit of -inf weighs nothing; 0 · -inf would be NaN.
            moment = t.clamp_(min=_LOWEST).mul_(e).sum(1).div_(z)
            log_z = z.log_()
            torch.sub(log_z, moment, out=entropy[h, part])
            torch.add(top[:, 0], log_z, out=logsumexp[h, part])
    return Rows(entropy.clamp_(min=0), logsumexp, out)


class Cut(NamedTuple):
    """CLIPer's clean-up of every head of a mixture by itself, before they are summed.

    threshold : 0..1, entries below are dropped
    columns : (H, T), what the columns are divided by before
    shares : (H, R), what the rows are multiplied by after: the head's weight over the row's sum
    home : (H, R), the weight of a head whose row lost everything; it stays at the row's own place
    """

    threshold: float
    columns: Tensor
    shares: Tensor
    home: Tensor

    def apply(self, rows: Tensor, head: int, part: slice | Tensor) -> None:
        """Clean and weigh these rows (n, T) of a head, in place."""
        rows /= self.columns[head]
        rows.mul_(rows >= self.threshold).mul_(self.shares[head, part][:, None])
        index = torch.arange(self.home.shape[1], device=rows.device)[part]
        rows.scatter_add_(1, index[:, None], self.home[head, part][:, None])


@dataclass(frozen=True, slots=True, eq=False)
class Mixture:
    """A weighted sum of attention maps, sum_h w_h softmax(scale · Q_h K_hᵀ), not yet formed.

    Scale, normaliser and weight are folded into one more column of Q and K, so that the map is
    sum_h exp(queries_h keys_hᵀ), whatever the weights.

    queries : (H, R, d + 1), keys : (H, T, d + 1), float32 or float64
    cut : where every head is cleaned before the sum; the weights are then in there
    """

    queries: Tensor
    keys: Tensor
    cut: Cut | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """(R, T) of the map."""
        return self.queries.shape[1], self.keys.shape[1]

    def rows(self, part: slice | Tensor, out: Tensor | None = None) -> Tensor:
        """These rows of the map, (n, T); `part` is a slice or (n,) int64, `out` is overwritten."""
        queries = self.queries[:, part]
        if out is None:
            out = queries.new_empty(queries.shape[1], self.keys.shape[1])
        if not len(queries):
            return out.zero_()
        scratch = torch.empty_like(out) if len(queries) > 1 else out
        for head, (q, k) in enumerate(zip(queries, self.keys, strict=True)):
            found = torch.mm(q, k.mT, out=scratch if head else out).exp_()
            if self.cut is not None:
                self.cut.apply(found, head, part)
            if head:
                out += found
        return out

    def dense(self) -> Tensor:
        """(R, T), the whole map."""
        rows, columns = self.shape
        out = self.queries.new_empty(rows, columns)
        for part in blocks(rows, columns, out.device):
            self.rows(part, out[part])
        return out


def mix(
    q: Tensor, k: Tensor, logsumexp: Tensor, weights: Tensor, *, scale: float | None = None
) -> Mixture:
    """The weighted sum of the heads' attention maps; heads of weight 0 are left out.

    q : (H, R, d), k : (H, T, d), logsumexp : (H, R) of `scan` with the same scale
    weights : (H,), or (H, R) for a weight of its own per row; not negative, some above 0
    """
    real = _real(q.dtype)
    factor = q.shape[-1] ** -0.5 if scale is None else scale
    weights = _per_row(weights).to(real)
    used = weights.amax(1) > 0
    # A row that a head has no part in gets e^-10000 = 0; -inf would turn to NaN in the product.
    offset = weights[used].log().clamp(min=_LOWEST) - logsumexp[used].to(real)
    queries = torch.cat([q[used].to(real) * factor, offset[..., None]], -1)
    ones = k.new_ones((*queries.shape[:1], k.shape[1], 1), dtype=real)
    return Mixture(queries, torch.cat([k[used].to(real), ones], -1))


def mix_cleaned(
    q: Tensor,
    k: Tensor,
    logsumexp: Tensor,
    weights: Tensor,
    *,
    threshold: float,
    scale: float | None = None,
) -> Mixture:
    """The weighted sum of the heads' self-attention, each cleaned by itself as CLIPer does.

    A head's columns are divided by their maxima (plus 1e-5), what is below the threshold is
    dropped, rows are made to sum to 1; a row that loses everything stays at home.

    q, k, logsumexp, weights, scale : as `mix` takes them, with R = T
    threshold : 0..1
    """
    weights = _per_row(weights)
    used = weights.amax(1) > 0
    weights = weights[used].to(_real(q.dtype)).expand(-1, q.shape[1])
    ones, zeros = torch.ones_like(weights), torch.zeros_like(weights)
    whole = mix(q[used], k[used], logsumexp[used], ones, scale=scale)
    columns, sums = zeros.clone(), zeros.clone()
    for head, part in product(range(len(ones)), blocks(*whole.shape, q.device)):
        torch.maximum(columns[head], _one(whole, head).rows(part).amax(0), out=columns[head])
    cut = Cut(threshold, columns + _CLIPER, ones, zeros)
    whole = replace(whole, cut=cut)
    for head, part in product(range(len(ones)), blocks(*whole.shape, q.device)):
        sums[head, part] = _one(whole, head).rows(part).sum(1)
    left = sums > 0
    shares = torch.where(left, weights / torch.where(left, sums, ones), zeros)
    return replace(whole, cut=cut._replace(shares=shares, home=torch.where(left, zeros, weights)))


def _per_row(weights: Tensor) -> Tensor:
    """(H, 1) or (H, R) of weights (H,) or (H, R), for no head at all too."""
    return weights[:, None] if weights.dim() == 1 else weights


def _one(whole: Mixture, head: int) -> Mixture:
    """A mixture of one of the heads."""
    at = slice(head, head + 1)
    cut = whole.cut and Cut(whole.cut.threshold, *(x[at] for x in whole.cut[1:]))
    return Mixture(whole.queries[at], whole.keys[at], cut)


def blocks(rows: int, columns: int, device: torch.device) -> Iterator[slice]:
    """Blocks of rows of a (rows, columns) map: small enough for a cache, or to fill a GPU."""
    at_once = _CPU_BLOCK if device.type == "cpu" else _GPU_BLOCK
    step = max(1, at_once // max(1, columns))
    return (slice(start, min(start + step, rows)) for start in range(0, rows, step))


def _real(dtype: torch.dtype) -> torch.dtype:
    return torch.float64 if dtype == torch.float64 else torch.float32

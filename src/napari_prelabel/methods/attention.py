"""The shared primitive: softmax(Q Kᵀ) V per window, with the weights summed while they pass."""

from itertools import product

import torch
import torch.nn.functional as F
from torch import Tensor


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

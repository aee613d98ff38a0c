"""The shared primitive: softmax(Q Kᵀ) V per window, with the weights summed while they pass."""

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
    out = torch.empty_like(q)
    logits = q.new_empty(q.shape[1], q.shape[2], k.shape[2])
    weights = torch.empty_like(logits)
    # One window at a time: its heads' weights stay in the processor's cache, and memory does not
    # grow with the batch.
    for b in range(q.shape[0]):
        torch.bmm(q[b] * factor, k[b].transpose(1, 2), out=logits)
        if bias is not None:
            logits += bias
        torch.softmax(logits, dim=-1, out=weights)
        if total is not None:
            total[b] += weights.sum(0, dtype=total.dtype)
        if total_head0 is not None:
            total_head0[b] += weights[0]
        torch.bmm(weights, v[b], out=out[b])
    return out

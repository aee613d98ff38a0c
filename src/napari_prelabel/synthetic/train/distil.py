"""Losses from two views of one place: no label, no caption, no mask enters any of them.

Boxes that both views show are described by their mean token. A description must fall into the
cluster of the other view's (SwAV's assignment by Sinkhorn's rounds) and be nearer to the other
view's than to other places of other clusters (a contrast, as DenseCL's and DetCon's).
"""

import torch
import torch.nn.functional as F
from torch import Tensor

POINTS = 4


def pooled_boxes(tokens: Tensor, boxes: Tensor) -> Tensor:
    """Mean token of each box, sampled at POINTS x POINTS places.

    Parameters
    ----------
    tokens : (B, N, C), a square grid row by row
    boxes : (B, R, 4) y0, x0, y1, x1 in 0 .. 1

    Returns
    -------
    (B, R, C) float32
    """
    batch, count, width = tokens.shape
    side = round(count**0.5)
    image = tokens.float().transpose(1, 2).reshape(batch, width, side, side)
    at = (torch.arange(POINTS, dtype=torch.float32, device=tokens.device) + 0.5) / POINTS
    start, span = boxes[..., :2, None], (boxes[..., 2:] - boxes[..., :2])[..., None]
    rows, cols = (start + span * at).unbind(dim=2)
    y = rows[..., :, None].expand(-1, -1, -1, POINTS)
    x = cols[..., None, :].expand(-1, -1, POINTS, -1)
    grid = torch.stack([x, y], dim=-1).flatten(2, 3) * 2 - 1
    found = F.grid_sample(image, grid, padding_mode="border", align_corners=False)
    return found.mean(dim=-1).transpose(1, 2)


@torch.no_grad()
def sinkhorn(scores: Tensor, sharpness: float = 20.0, rounds: int = 3) -> Tensor:
    """Soft assignment of rows to clusters, every cluster about equally full.

    Parameters
    ----------
    scores : (M, K) cosines

    Returns
    -------
    (M, K) float32, rows sum to 1
    """
    q = torch.exp((scores.float() - scores.max()) * sharpness)
    for _ in range(rounds):
        q = q / q.sum(dim=0, keepdim=True).clamp_min(1e-12) / q.shape[1]
        q = q / q.sum(dim=1, keepdim=True).clamp_min(1e-12) / q.shape[0]
    return q * q.shape[0]


def assignment(scores: Tensor, target: Tensor, temperature: float = 0.1) -> Tensor:
    """Cross-entropy (M,) of one view's cosines (M, K) against the other view's assignment."""
    return -(target * (scores.float() / temperature).log_softmax(dim=-1)).sum(dim=-1)


def contrast(rows: Tensor, older: Tensor, cluster: Tensor, temperature: float = 0.1) -> Tensor:
    """Each row finds the other view's row of its place among other clusters' rows.

    Parameters
    ----------
    rows : (2 · P, D) unit rows, the second view's after the first's in the same order
    older : (Q, D) unit rows of earlier batches
    cluster : (2 · P + Q,) int64; places of one cluster are no negatives of each other, since they
        may well show the same thing
    """
    count = len(rows)
    at = torch.arange(count, device=rows.device)
    target = at.roll(count // 2)
    excluded = cluster[:count, None] == cluster[None]
    excluded[at, at] = True
    excluded[at, target] = False
    logits = rows.float() @ torch.cat([rows, older]).float().T / temperature
    return F.cross_entropy(logits.masked_fill(excluded, -1e4), target)

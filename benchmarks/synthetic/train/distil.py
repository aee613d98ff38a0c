"""The losses of segments seen twice: no label, no caption, no class mask enters any of them.

A segment is described by its mean token. Its description must be nearer to that of its other view
than to any other segment's (a contrast, as DetCon's), and its channels must tell different things
(as VICReg's and Barlow Twins').
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def pooled(tokens: Tensor, owner: Tensor, weights: Tensor) -> Tensor:
    """Weighted mean token of each segment.

    Parameters
    ----------
    tokens : (B, N, C)
    owner : (M,) int64 image of each segment
    weights : (M, N) float32, 0 or more; a row of zeros gives zeros

    Returns
    -------
    (M, C) float32
    """
    share = weights / weights.sum(dim=1, keepdim=True).clamp_min(1e-6)
    by_image = torch.zeros(len(owner), len(tokens), weights.shape[1], device=tokens.device)
    by_image[torch.arange(len(owner), device=tokens.device), owner] = share
    return by_image.flatten(1) @ tokens.float().flatten(0, 1)


def contrast(rows: Tensor, older: Tensor, temperature: float = 0.1) -> Tensor:
    """Each row finds its segment's row of the other view among all others.

    Parameters
    ----------
    rows : (2 · P, D) unit rows, the second view's after the first's in the same order
    older : (Q, D) unit rows of earlier batches
    """
    count = len(rows)
    at = torch.arange(count, device=rows.device)
    logits = rows.float() @ torch.cat([rows, older]).float().T / temperature
    logits[at, at] = -1e4
    return F.cross_entropy(logits, at.roll(count // 2))


def correlation(rows: Tensor, older: Tensor, keep: float = 0.95) -> Tensor:
    """Moving mean of the channels' correlations (D, D), of standardised rows (M, D)."""
    return older.lerp(rows.T @ rows / len(rows), 1 - keep)


def redundancy(rows: Tensor, correlations: Tensor) -> Tensor:
    """How far channels repeat each other: falls as their correlations do.

    A batch is too small to tell correlations, so it is judged by those of many batches: with these
    held fixed, its slope is that of half the sum of their squares outside the diagonal.

    Parameters
    ----------
    rows : (M, D) standardised
    correlations : (D, D)
    """
    apart = correlations - torch.diag(correlations.diagonal())
    return ((rows @ apart) * rows).sum(dim=1).mean() / rows.shape[1]

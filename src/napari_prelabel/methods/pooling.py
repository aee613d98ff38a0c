"""Mask average pooling: S_k = MAP(features, down(M_k)), ReME's segment vectors.

docs/methods/reme.md#segment-vectors

Masks are resized bilinearly with corners aligned, as FreeDA does. That samples a mask at h · w
points, so only those points and their four neighbours are ever read: no mask of the image's size
is built, whatever the number of segments.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

LEAST_WEIGHT = 1e-3
"""Segments whose weights sum to less take the token nearest to their centroid."""
EPS = 1e-6

Corner = tuple[Tensor, Tensor, Tensor]


def soft_masks(segments: Tensor, count: int, grid: tuple[int, int]) -> Tensor:
    """Every segment's mask, resized to the grid as `F.interpolate(..., align_corners=True)` does.

    Parameters
    ----------
    segments : labels (H, W) of an integer type, ids 0 .. count - 1, anything else is no segment;
        or masks (count, H, W) bool, which may overlap
    grid : (h, w)

    Returns
    -------
    (count, h · w) float32 in [0, 1]; a row is all zero where no sample point meets the segment
    """
    masks = segments.ndim == 3
    out = segments.new_zeros((count, grid[0] * grid[1]), dtype=torch.float32)
    for rows, cols, share in _corners((segments.shape[-2], segments.shape[-1]), grid, out.device):
        if masks:
            out += segments[:, rows[:, None], cols].flatten(1) * share
        else:
            ids = segments[rows[:, None], cols].flatten().long()
            known = (ids >= 0) & (ids < count)
            at = torch.arange(len(ids), device=out.device)[known]
            out[ids[known], at] += share[known]
    return out


def segment_weights(segments: Tensor, count: int, grid: tuple[int, int]) -> Tensor:
    """`soft_masks`, but segments too small to be met weigh the token nearest to their centroid.

    An id without a pixel weighs the token in the middle.

    Returns
    -------
    (count, h · w) float32, every row summing to `LEAST_WEIGHT` or more
    """
    weights = soft_masks(segments, count, grid)
    missed = weights.sum(dim=1) < LEAST_WEIGHT
    if bool(missed.any()):
        nearest = _nearest_tokens(segments, count, grid)[missed]
        weights[missed] = F.one_hot(nearest, weights.shape[1]).to(weights.dtype)
    return weights


def pool(tokens: Tensor, weights: Tensor) -> Tensor:
    """Weighted means of tokens, normalised: sum(w f) / (sum w + eps), then to length 1.

    Parameters
    ----------
    tokens : (N, E) float
    weights : (k, N) float, 0 or more

    Returns
    -------
    (k, E) float32 unit rows; a row of zeros where the weights or the tokens are all zero
    """
    weights = weights.float()
    mean = (weights @ tokens.float()) / (weights.sum(dim=1, keepdim=True) + EPS)
    return F.normalize(mean, dim=1)


def _corners(
    size: tuple[int, int], grid: tuple[int, int], device: torch.device
) -> tuple[Corner, ...]:
    """Rows (h,), columns (w,) and share (h · w,) of each sample point's four neighbours."""
    (top, below, low), (left, right, near) = (
        _axis(s, g, device) for s, g in zip(size, grid, strict=True)
    )
    high, far = 1 - low, 1 - near
    return (
        (top, left, torch.outer(high, far).flatten()),
        (top, right, torch.outer(high, near).flatten()),
        (below, left, torch.outer(low, far).flatten()),
        (below, right, torch.outer(low, near).flatten()),
    )


def _axis(size: int, points: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """First and second neighbour and the second's share, with corners aligned."""
    scale = (size - 1) / (points - 1) if points > 1 else 0.0
    at = torch.arange(points, dtype=torch.float32, device=device) * scale
    first = at.floor().long().clamp_(0, size - 1)
    return first, (first + 1).clamp_(max=size - 1), at - first


def _nearest_tokens(segments: Tensor, count: int, grid: tuple[int, int]) -> Tensor:
    """Token index (count,) int64 nearest to each segment's centroid."""
    height, width = segments.shape[-2:]
    if segments.ndim == 3:
        along_y = segments.sum(dim=2, dtype=torch.float64)
        along_x = segments.sum(dim=1, dtype=torch.float64)
        pixels = along_y.sum(dim=1)
        sum_y = along_y @ torch.arange(height, dtype=torch.float64, device=segments.device)
        sum_x = along_x @ torch.arange(width, dtype=torch.float64, device=segments.device)
    else:
        ids = segments.flatten().long()
        known = ((ids >= 0) & (ids < count)).nonzero().flatten()
        ids = ids[known]
        pixels = torch.bincount(ids, minlength=count).double()
        sum_y = torch.bincount(ids, (known // width).double(), minlength=count)
        sum_x = torch.bincount(ids, (known % width).double(), minlength=count)
    empty, pixels = pixels == 0, pixels.clamp(min=1)
    rows = torch.where(empty, (height - 1) / 2, sum_y / pixels)
    cols = torch.where(empty, (width - 1) / 2, sum_x / pixels)
    row = (rows * (grid[0] - 1) / max(height - 1, 1)).round().long()
    col = (cols * (grid[1] - 1) / max(width - 1, 1)).round().long()
    return row * grid[1] + col

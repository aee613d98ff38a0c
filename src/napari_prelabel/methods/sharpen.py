"""Maps of tokens at the size of pixels, with the edges of the image.

The guided filter (He, Sun, Tang, TPAMI 2013) in its fast form (He and Sun, 2015): in a window
around each pixel a map is a linear function of the image's colours; its coefficients are found on
a smaller grid and applied to the image at its own size.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy.ndimage import uniform_filter

from .walk import resampling

Floats = npt.NDArray[np.float32]

# Variance of colours 0..1 below which a window counts as even.
_EVEN = 1e-3


def resized(
    maps: Floats, size: tuple[int, ...], box: tuple[slice, slice] = (slice(None), slice(None))
) -> Floats:
    """Maps (C, h, w) bilinearly at `size` (H, W), or the pixels of `box` only."""
    y, x = (
        resampling(to, of)[part].float()
        for to, of, part in zip(size, maps.shape[1:], box, strict=True)
    )
    # In torch: NumPy's BLAS brings threads of its own, which wait for one another on busy cores.
    out: Floats = (y @ torch.from_numpy(np.ascontiguousarray(maps, np.float32)) @ x.mT).numpy()
    return out


def sharpen(maps: Floats, image: npt.NDArray[Any], token: float) -> Floats:
    """Draw the edges of the image into smooth maps.

    maps : (C, H, W), resized from tokens
    image : (H, W, 3) uint8, or real 0..1
    token : pixels that a token of the maps covers: the windows reach as far to each side
    returns : (C, H, W)
    """
    guide = image.astype(np.float32).transpose(2, 0, 1)
    if image.dtype == np.uint8:
        guide /= 255
    step = max(1, int(token / 4))
    size = tuple(-(-side // step) for side in maps.shape[1:])
    small, low = resized(guide, size), resized(maps, size)
    slope, offset = _fit(low, small, 2 * round(token / step) + 1)
    slope = resized(slope.reshape(-1, *size), maps.shape[1:]).reshape(-1, 3, *maps.shape[1:])
    out: Floats = np.einsum("cdyx,dyx->cyx", slope, guide)
    out += resized(offset, maps.shape[1:])
    return out


def _fit(maps: Floats, guide: Floats, window: int) -> tuple[Floats, Floats]:
    """Coefficients (C, 3, h, w) and (C, h, w) of maps (C, h, w) on the colours (3, h, w)."""

    def mean(x: Floats) -> Floats:
        lead = (0,) * (x.ndim - 2)
        out: Floats = uniform_filter(x, (*lead, window, window), mode="reflect")
        return out

    colour, value = mean(guide), mean(maps)
    spread = mean(guide[:, None] * guide) - colour[:, None] * colour
    spread[range(3), range(3)] += _EVEN
    common = mean(maps[:, None] * guide) - value[:, None] * colour
    slope = np.einsum("deyx,ceyx->cdyx", _inverse(spread), common)
    offset = value - (slope * colour).sum(1)
    return mean(slope), mean(offset)


def _inverse(m: Floats) -> Floats:
    """Inverse of symmetric positive matrices (3, 3, h, w), by cofactors."""
    rows = m.transpose(2, 3, 0, 1)
    a, b, c = (rows[..., i, :] for i in range(3))
    cofactors = np.stack([np.cross(b, c), np.cross(c, a), np.cross(a, b)], -1)
    determinant = (a * cofactors[..., 0]).sum(-1)
    out: Floats = (cofactors / determinant[..., None, None]).transpose(2, 3, 0, 1)
    return out

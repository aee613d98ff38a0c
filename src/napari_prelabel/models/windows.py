"""How an image is resized and cut into windows, and where their patches lie.

docs/methods/freecp.md#windows says what is published.

Up-sampling inside a window, averaging windows and resizing to the image are linear and act on
rows and columns separately: one small matrix per axis leads from patches to pixels.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from ..values.errors import JobError
from ..values.settings import Windows

# mmseg's Resize((2048, 448)) keeps the long side below this.
LONG_SIDE = 2048
# FreeCP's boxes leave out the last row and column of patches, so a window needs a few.
MIN_PATCHES = 4
# Patches of one window: its attention is a square of them, and several are held at once.
MAX_PATCHES = 8192


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the windows of an image lie. All pairs are (rows, columns).

    size : of the image (or its region) in pixels.
    resized : of what is cut into windows, in pixels; windows may reach beyond its end, where
        the last row and column are repeated.
    window : sides of every window in pixels. A remainder that fills no patch is dropped by the
        encoder, and the map of the patches is stretched over the whole window, as published.
    starts : first pixels of the windows along both axes; the windows are their product.
    """

    size: tuple[int, int]
    resized: tuple[int, int]
    window: tuple[int, int]
    starts: tuple[tuple[int, ...], tuple[int, ...]]
    patch: int

    @property
    def grid(self) -> tuple[int, int]:
        """Patches of a window."""
        return self.window[0] // self.patch, self.window[1] // self.patch

    @property
    def origins(self) -> list[tuple[int, int]]:
        """(y, x) of every window in the resized image, row by row."""
        return [(y, x) for y in self.starts[0] for x in self.starts[1]]


def plan_layout(size: tuple[int, int], windows: Windows, patch: int) -> Layout:
    """Resize to the short side (long side at most 2048) and lay windows.

    docs/methods/freecp.md#windows

    size : (H, W) of the image in pixels.
    windows : a side of the image that is not longer than the crop gets one window of its own
        length.

    Raises JobError for windows whose attention would not fit into memory.
    """
    scale = windows.short_side / min(size) if windows.short_side else 1.0
    scale = min(scale, LONG_SIDE / max(size)) if windows.short_side or windows.crop == 0 else scale
    resized = (max(1, int(size[0] * scale + 0.5)), max(1, int(size[1] * scale + 0.5)))
    sides = [_axis(length, windows, patch) for length in resized]
    (height, ys), (width, xs) = sides
    layout = Layout(size, resized, (height, width), (ys, xs), patch)
    if math.prod(layout.grid) > MAX_PATCHES:
        raise JobError(
            "windows",
            f"A window of {height} x {width} pixels is too large at once: set a window side, "
            "384 for example, or a smaller short side.",
        )
    return layout


def _axis(length: int, windows: Windows, patch: int) -> tuple[int, tuple[int, ...]]:
    least = MIN_PATCHES * patch
    crop = max(windows.crop, least) if windows.crop else 0
    if not crop or length <= crop:
        return max(length, least), (0,)
    count = math.ceil((length - crop) / windows.stride) + 1
    return crop, tuple(min(i * windows.stride, length - crop) for i in range(count))


def cut(
    image: npt.NDArray[np.uint8], layout: Layout, *, antialias: bool = False
) -> npt.NDArray[np.uint8]:
    """The resized image (h, w, 3) uint8, edges repeated as far as the windows reach.

    Bilinear like the published pipeline.
    """
    small = np.require(image, requirements=["C", "W"])  # torch warns of read-only memory
    if layout.resized != layout.size:
        small = _resize(small, layout.resized, antialias)
    ends = [
        starts[-1] + side - length
        for starts, side, length in zip(layout.starts, layout.window, layout.resized, strict=True)
    ]
    if any(ends):
        small = np.pad(small, ((0, ends[0]), (0, ends[1]), (0, 0)), mode="edge")
    return small


def _resize(
    image: npt.NDArray[np.uint8], size: tuple[int, int], antialias: bool
) -> npt.NDArray[np.uint8]:
    planes = torch.from_numpy(image).permute(2, 0, 1)[None].float()
    out = F.interpolate(planes, size=size, mode="bilinear", antialias=antialias)
    levels: npt.NDArray[np.uint8] = (
        out[0].round_().clamp_(0, 255).to(torch.uint8).permute(1, 2, 0).contiguous().numpy()
    )
    return levels


def _line(inputs: int, outputs: int) -> Tensor:
    """(outputs, inputs) float64 matrix of linear interpolation, align_corners=False."""
    eye = torch.eye(inputs, dtype=torch.float64)[None]
    return F.interpolate(eye, size=outputs, mode="linear", align_corners=False)[0].T


@lru_cache(maxsize=16)
def axis_matrix(layout: Layout, axis: int) -> Tensor:
    """(pixels of the image, windows x patches) along one axis: up-sample, average, resize.

    Kept for the layouts used last, so it must not be written to.
    """
    length, window, starts = layout.resized[axis], layout.window[axis], layout.starts[axis]
    patches = layout.grid[axis]
    up = _line(patches, window)
    placed = torch.zeros(length, len(starts) * patches, dtype=torch.float64)
    count = torch.zeros(length, 1, dtype=torch.float64)
    for i, start in enumerate(starts):
        end = min(start + window, length)
        placed[start:end, i * patches : (i + 1) * patches] = up[: end - start]
        count[start:end] += 1
    return (_line(length, layout.size[axis]) @ (placed / count)).float()


def one_grid(rows: Tensor, layout: Layout) -> tuple[Tensor, tuple[int, int]]:
    """Patches of all windows as one grid over the whole image; where windows overlap, their mean.

    Parameters
    ----------
    rows : (windows, h · w, E) float32, windows in the order of `Layout.origins`

    Returns
    -------
    (H · W, E) float32, patches row by row, and (H, W): as many as fit the resized image. Where
    the grid's cells lie between the patches of a window, they are interpolated linearly.
    """
    height, width = (max(1, round(length / layout.patch)) for length in layout.resized)
    down, across = (len(starts) for starts in layout.starts)
    field = rows.reshape(down, across, *layout.grid, -1).transpose(1, 2)
    field = field.flatten(0, 1).flatten(1, 2)  # rows of all windows, columns of all windows, E
    field = torch.einsum("yi,ijc->yjc", _cells(layout, 0, height), field)
    field = torch.einsum("xj,yjc->yxc", _cells(layout, 1, width), field)
    return field.flatten(0, 1), (height, width)


def _cells(layout: Layout, axis: int, count: int) -> Tensor:
    """(count, windows x patches) shares of the windows' patches in the middles of `count` cells."""
    patches, window = layout.grid[axis], layout.window[axis]
    middles = (np.arange(count) + 0.5) * layout.resized[axis] / count
    found = np.zeros((count, len(layout.starts[axis]), patches))
    for i, start in enumerate(layout.starts[axis]):
        inside = np.flatnonzero((middles >= start) & (middles <= start + window))
        at = np.clip((middles[inside] - start) * patches / window - 0.5, 0, patches - 1)
        low = np.minimum(at.astype(int), max(patches - 2, 0))
        found[inside, i, low] = 1 - (at - low)
        found[inside, i, np.minimum(low + 1, patches - 1)] += at - low
    found /= found.sum((1, 2), keepdims=True)
    return torch.from_numpy(found.reshape(count, -1)).float()

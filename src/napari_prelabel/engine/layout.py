"""How an image is resized, cut into windows and put together again (methods.md 2.1 and 2.7).

Up-sampling inside a window, averaging windows and resizing to the image are linear and act on
rows and columns separately. So one small matrix per axis leads from patches to pixels, and a
result of any size is made tile by tile.
"""

import math
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import JobError
from ..job import Windows

# mmseg's Resize((2048, 448)) keeps the long side below this.
LONG_SIDE = 2048
# FreeCP's boxes leave out the last row and column of patches, so a window needs a few.
MIN_PATCHES = 4
# Patches of one window: its attention is a square of them, and several are held at once.
MAX_PATCHES = 8192
# Bytes of one tile of scores.
_TILE = 1 << 22


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
    """Resize to the short side (long side at most 2048) and lay windows (methods.md 2.1).

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


@dataclass(frozen=True, slots=True, eq=False)
class Tile:
    """A rectangle of the image and the scores of the chosen channels in it.

    rows, columns : half-open slices of the image.
    channels : (k,) int64, ascending; the other channels are zero here.
    patches : (y, x, k), those that bear on the rectangle.
    left, right : (rows, y) and (columns, x), the patches' shares in the pixels.
    """

    rows: slice
    columns: slice
    channels: Tensor
    patches: Tensor
    left: Tensor
    right: Tensor

    @property
    def scores(self) -> Tensor:
        """(k, rows, columns) float32, the channels of a pixel side by side in memory.

        Made anew whenever it is asked for, by the thread that asks.
        """
        return self.scores_in(Scratch())

    def scores_in(self, scratch: "Scratch", name: str = "") -> Tensor:
        """`scores` in memory that the next call of this thread with this name writes again."""
        left, right = self.left.to(self.patches), self.right.to(self.patches)
        return _spread(self.patches, left, right, scratch, name)


class Scratch(threading.local):
    """Memory of each thread that is used again: the pages of new memory cost more than the sums."""

    def __init__(self) -> None:
        self._held: dict[str, npt.NDArray[Any]] = {}

    def array(self, name: str, shape: tuple[int, ...], like: npt.NDArray[Any]) -> Any:
        """An array of this shape whose contents mean nothing yet."""
        size = math.prod(shape)
        held = self._held.get(name)
        if held is None or held.size < size or held.dtype != like.dtype:
            held = self._held[name] = np.empty(size, like.dtype)
        return held[:size].reshape(shape)


class Blend:
    """Maps of windows as scores of pixels: up-sampled, averaged over windows, resized.

    layout : of the windows.
    """

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._y = axis_matrix(layout, 0)
        self._x = axis_matrix(layout, 1)

    def tiles(self, maps: Tensor, *, sparse: bool = False) -> Iterator[Tile]:
        """Scores of the whole image, tile by tile, in bounded memory.

        maps : (windows, K, h, w), windows in the order of `Layout.origins`.
        sparse : leave out channels that are zero all over a tile, but never channel 0, so that
            a tile has a channel.
        """
        (ny, nx), (h, w) = map(len, self._layout.starts), self._layout.grid
        k = maps.shape[1]
        # (ny * h, nx * w, K): the windows' maps side by side, the channels of a patch together.
        wide = maps.view(ny, nx, k, h, w).permute(0, 3, 1, 4, 2).reshape(ny * h, nx * w, k)
        height, width = self._layout.size
        rows, columns = tile_size(k, height, width)
        for y in range(0, height, rows):
            ys = slice(y, min(y + rows, height))
            left, from_y = _needed(self._y[ys])
            strip = _taken(wide, from_y, 0)
            for x in range(0, width, columns):
                xs = slice(x, min(x + columns, width))
                right, from_x = _needed(self._x[xs])
                part = _taken(strip, from_x, 1)
                channels = torch.arange(k)
                if sparse:
                    lit = _lit(part)
                    lit[0] = True
                    if not lit.all():
                        channels = lit.nonzero()[:, 0]
                        part = _taken(part, channels.to(part.device), 2)
                yield Tile(ys, xs, channels, part, left, right)


def tile_size(channels: int, height: int, width: int) -> tuple[int, int]:
    """(rows, columns) of a tile of scores that fits into a few megabytes."""
    area = max(64, _TILE // (4 * max(1, channels)))
    columns = min(width, max(64, 2 * math.isqrt(area)))
    return min(height, max(1, area // columns)), columns


def _taken(values: Tensor, index: Tensor, axis: int) -> Tensor:
    """`torch.index_select`; on a processor by NumPy, which leaves torch's threads asleep."""
    first, count = int(index[0]), len(index)
    if int(index[-1]) - first == count - 1:  # ascending, so these are all that lie between
        return values.narrow(axis, first, count)
    if values.device.type != "cpu":
        return values.index_select(axis, index)
    return torch.from_numpy(np.take(values.numpy(), index.numpy(), axis))


def _lit(part: Tensor) -> Tensor:
    """(K,) bool on the processor: which channels of (y, x, K) are anywhere not zero."""
    if part.device.type != "cpu":
        return part.flatten(0, 1).any(0).cpu()
    return torch.from_numpy(part.numpy().any(axis=(0, 1)))


def _needed(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """The columns of a banded matrix that are not zero, and their indices."""
    used = matrix.any(0).nonzero()[:, 0]
    return matrix[:, used], used


def _spread(part: Tensor, left: Tensor, right: Tensor, scratch: Scratch, name: str) -> Tensor:
    """Scores (K, rows, columns) of patches (y, x, K); `left` and `right` lead to the pixels.

    Columns first: few rows of patches lie below a tile, so the large product is the cheap one.
    On a processor NumPy multiplies, which can be kept to one thread (`score.ahead`).
    """
    rows, columns, (y, _, k) = len(left), len(right), part.shape
    if part.device.type == "cpu":
        patches = part.numpy()
        far = scratch.array(name + " far", (y, columns, k), patches)
        near = scratch.array(name + " near", (rows, columns * k), patches)
        np.matmul(right.numpy(), patches, out=far)
        np.matmul(left.numpy(), far.reshape(y, -1), out=near)
        wide = torch.from_numpy(near)
    else:
        wide = left @ (right @ part).flatten(1)
    return wide.view(rows, columns, k).permute(2, 0, 1)

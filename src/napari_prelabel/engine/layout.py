"""How the windows of an image are put together again, tile by tile.

docs/methods/freecp.md#windows

One small matrix per axis leads from patches to pixels, so a result of any size is made tile by
tile.
"""

import math
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..methods.threads import one_blas_thread
from ..models.windows import Layout, axis_matrix
from ..values.job import Progress
from ..values.labels import Ids, LabelMap
from ..values.vocabulary import Vocabulary

# Bytes of one tile of scores.
_TILE = 1 << 22
_Item = TypeVar("_Item")


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


# A tile of the image, and ids, score and second-best class in it.
Decided = tuple[Tile, tuple[Ids, npt.NDArray[Any], Ids]]


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


def together(
    tiles: Iterator[Decided], layout: Layout, vocabulary: Vocabulary
) -> Generator[Progress, None, LabelMap]:
    """The label map that decided tiles make."""
    ids = np.zeros(layout.size, np.uint16)
    score = np.zeros(layout.size, np.float16)
    runner_up = np.zeros(layout.size, np.uint16)
    for tile, found in tiles:
        place = (tile.rows, tile.columns)
        ids[place], score[place], runner_up[place] = found
        if tile.columns.stop == layout.size[1]:
            yield Progress("decide", tile.rows.stop, layout.size[0])
    return LabelMap(ids, score, runner_up, vocabulary)


def ahead(decided: Callable[[_Item], Decided], tiles: Iterable[_Item]) -> Iterator[Decided]:
    """Blend and decide several tiles at a time, each in one thread; in their order.

    Threads of their own for every product would wait for each other, busily.
    """
    threads = torch.get_num_threads()
    waiting: deque[Future[Decided]] = deque()
    with one_blas_thread(), ThreadPoolExecutor(threads) as pool:
        for tile in tiles:
            waiting.append(pool.submit(decided, tile))
            if len(waiting) > threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


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
    On a processor NumPy multiplies, which can be kept to one thread (`ahead`).
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

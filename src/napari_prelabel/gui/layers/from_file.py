"""What the file of a layer says about its values: a layer that shows a file as it is takes it.

A layer's array alone does not tell opacity from infrared, no-data from depth, or white from black.
"""

import threading
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt
from napari.layers import Image

if TYPE_CHECKING:
    from ...images.pixels import Pixels, Plane
    from ...images.read import Head

_heads: WeakKeyDictionary[Image, "Head | None"] = WeakKeyDictionary()
_lock = threading.Lock()
# The file that was read last: planes of a stack come one after the other.
_last: tuple[Any, "Pixels | None"] = (None, None)


def head_of(layer: Image) -> "Head | None":
    """What the head of the layer's file says, None without a file or for another array."""
    if layer not in _heads:
        _heads[layer] = _read_head(layer)
    return _heads[layer]


def is_part(layer: Image, layers: Iterable[Any]) -> bool:
    """Whether a layer shows something else than the whole of its file: one channel, series or
    position of it, or a stack of several files, of which the first is named.

    layers : among which others of the same file may be.
    """
    path = layer.source.path
    if not path:
        return False
    if any(x is not layer and isinstance(x, Image) and x.source.path == path for x in layers):
        return True
    head = head_of(layer)
    data = layer.data[0] if layer.multiscale else layer.data
    shape = head.shape if head is not None else None
    # Where the head tells no shape: a picture has two axes, and its colours.
    colours = data.ndim > 2 and data.shape[-1] in (3, 4)
    more = _long_axes(data.shape) - (_long_axes(shape) if shape is not None else 2 + colours)
    if more == 1:
        return len(data) != _frames(Path(path))
    return more > 0 or (shape is not None and more < 0)


def _long_axes(shape: Iterable[int]) -> int:
    return sum(n > 1 for n in shape)


def _frames(path: Path) -> int:
    """How many frames an animated picture has; 1 of any other file."""
    from PIL import Image as Picture

    if path.suffix.lower() not in (".gif", ".png", ".apng", ".webp"):
        return 1
    try:
        with Picture.open(path) as picture:
            return int(getattr(picture, "n_frames", 1))
    except (OSError, ValueError, SyntaxError, Picture.DecompressionBombError):
        return 1


def channel_axis_of(layer: Image) -> tuple[bool, int | None]:
    """(whether the file tells, the axis of the layer's array that holds channels or None)."""
    head = head_of(layer)
    if head is None or head.shape != layer.data.shape:
        return False, None
    return True, head.channel_axis


def channels_of(layer: Image, count: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """(channels of `count` that may be chosen, those that are shown where none are chosen)."""
    from ...images.meaning import Meaning

    head = head_of(layer)
    known = head is not None and head.shape == layer.data.shape
    meaning = head.meaning if head is not None and known else Meaning()
    return meaning.colours(count), meaning.shown(count)


def pixel_size_of(layer: Image) -> tuple[tuple[float, float], str] | None:
    """((Y, X), unit) of a pixel as the layer's file says it; None where it does not."""
    head = head_of(layer)
    return None if head is None or head.scale is None else (head.scale, head.unit)


def plane_of(layer: Image, number: int, planes: int, shown: npt.NDArray[Any]) -> "Plane | None":
    """The file's own plane that a layer shows, where its values are the file's; else None.

    number : of the plane among the `planes` of the layer. shown : (H, W) or (H, W, C), the
    layer's values. Reads the file where its head says more than the array; call it off the GUI
    thread.
    """
    head = head_of(layer)
    if head is None or head.says_no_more_than(shown, bool(layer.rgb)):
        return None
    pixels = _pixels(Path(layer.source.path))
    if pixels is None or len(pixels.first) != planes:
        return None
    plane = pixels.planes[pixels.first[number]]
    return plane if _same(shown, plane.data, plane.meaning.bits) else None


def _read_head(layer: Image) -> "Head | None":
    if not layer.source.path or layer.multiscale:
        return None
    # Late: the readers of image files take a while to import.
    from ...images.read import SUFFIXES, read_head

    path = Path(layer.source.path)
    if path.suffix.lower() not in SUFFIXES or not path.is_file():
        return None
    return read_head(path)


def _pixels(path: Path) -> "Pixels | None":
    global _last
    from ...images.read import read_image
    from ...values.errors import PrelabelError

    try:
        state = path.stat()
        key = (path, state.st_mtime_ns, state.st_size)
        with _lock:
            if _last[0] != key:
                _last = (key, read_image(path))
            return _last[1]
    except (OSError, PrelabelError):
        return None


def _same(shown: npt.NDArray[Any], stored: npt.NDArray[Any], bits: int | None) -> bool:
    """Whether a layer's values are the file's; Pillow shows 16-bit colours by their high byte,
    and those of a PPM by their share of its highest value."""
    if shown.shape[2:] == (3,) and stored.shape[2:] == (4,):  # a palette without its opacity
        stored = stored[..., :3]
    elif shown.shape[2:] == (4,) and stored.shape[2:] == (2,):  # grey of 16 bits and opacity
        stored = stored[..., [0, 0, 0, 1]]
    if shown.shape != stored.shape:
        return False
    if shown.dtype == np.uint8 and stored.dtype == np.uint16:
        if bits:
            return np.array_equal(shown, np.rint(stored / (2**bits - 1) * 255))
        return np.array_equal(shown, stored >> 8)
    if shown.dtype.kind == "f":
        return np.array_equal(shown, stored, equal_nan=True)
    return np.array_equal(shown, stored)

"""Outlines and run lengths of a mask as COCO writes them, and back to pixels."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco_mask

from ..values.labels import Mask

Indices = npt.NDArray[np.intp]


def outlines(mask: Mask, origin: tuple[int, int] = (0, 0)) -> list[list[float]]:
    """Outer outlines of a (Y, X) mask along the edges of its pixels; holes are left out.

    origin : (y, x) of the mask's first pixel in the image.

    Returns
    -------
    polygons as COCO lists them, [x0, y0, x1, y1, ...], with corners at whole numbers
    """
    from skimage.measure import find_contours

    polygons = []
    # At level 0.5 every point of a contour lies in the middle of a pixel's edge.
    for path in find_contours(np.pad(mask, 1).astype(np.uint8), 0.5, fully_connected="low"):
        corners = _corners(path)
        if _signed_area(corners) > 0:
            corners += origin
            polygons.append(corners[:, ::-1].astype(float).ravel().tolist())
    return polygons


def _corners(path: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """(n, 2) corners (y, x) where a closed contour of edge middles turns, in the unpadded mask."""
    here, there = path[:-1], np.roll(path[:-1], -1, axis=0)
    level = here[:, 0] % 1 != 0
    turns = level != (there[:, 0] % 1 != 0)
    y = np.where(level, here[:, 0], there[:, 0])
    x = np.where(level, there[:, 1], here[:, 1])
    # The pixel's corner (y, x) lies half a pixel before its middle; the padding adds one more.
    corners: npt.NDArray[np.int64] = (np.stack([y, x], axis=1)[turns] - 0.5).astype(np.int64)
    return corners


def _signed_area(corners: npt.NDArray[np.int64]) -> float:
    """Positive for an outer outline, negative for a hole (contours run one way round)."""
    y, x = corners[:, 0], corners[:, 1]
    return float((x * np.roll(y, -1) - np.roll(x, -1) * y).sum()) / 2


def run_lengths(mask: Mask, origin: tuple[int, int], shape: tuple[int, int]) -> dict[str, Any]:
    """Compressed COCO run lengths, column by column, of a mask put into an image of `shape`."""
    height, width = shape
    padded = np.pad(mask, ((1, 1), (0, 0))).astype(np.int8)
    steps = np.diff(padded, axis=0).T
    columns, starts = np.nonzero(steps == 1)
    _, ends = np.nonzero(steps == -1)
    base = (columns + origin[1]) * height + origin[0]
    starts, ends = base + starts, base + ends
    edges = np.stack([starts, ends], axis=1).ravel()
    # A run that reaches the foot of a column goes on at the head of the next one.
    inner, joined = edges[1:-1].reshape(-1, 2), np.repeat(starts[1:] == ends[:-1], 2)
    edges = np.concatenate([[0], edges[:1], inner.ravel()[~joined], edges[-1:], [height * width]])
    counts = np.diff(edges).tolist()
    if len(counts) > 1 and not counts[-1]:
        counts.pop()
    packed = coco_mask.frPyObjects({"size": [height, width], "counts": counts}, height, width)
    return {"size": [height, width], "counts": packed["counts"].decode("ascii")}


def rasterise(polygons: Sequence[Sequence[float]], shape: tuple[int, int]) -> dict[str, Any]:
    """Run lengths of the union of polygons, drawn by pycocotools."""
    height, width = shape
    packed = coco_mask.merge(coco_mask.frPyObjects([list(p) for p in polygons], height, width))
    return {"size": [height, width], "counts": packed["counts"].decode("ascii")}


def pixels(counts: str | Sequence[int], shape: tuple[int, int]) -> Indices:
    """Flat column-by-column indices of the pixels that run lengths name.

    Raises ValueError when the counts do not fill an image of `shape` exactly: pycocotools trusts
    them and reads beyond its memory.
    """
    runs = _decoded(counts) if isinstance(counts, str) else list(counts)
    if any(type(n) is not int or n < 0 for n in runs):
        raise ValueError("a run has no whole length")
    if sum(runs) != shape[0] * shape[1]:
        raise ValueError(f"its runs cover {sum(runs)} of {shape[0] * shape[1]} pixels")
    ends = np.cumsum(np.asarray(runs, np.int64))
    starts, stops = ends[0:-1:2], ends[1::2]
    lengths = stops - starts
    before = np.concatenate([[0], np.cumsum(lengths)])[:-1]
    found: Indices = np.arange(int(lengths.sum())) + np.repeat(starts - before, lengths)
    return found


def _decoded(text: str) -> list[int]:
    """Run lengths of COCO's text form: 5 bits a character, each run as difference to the one
    before the last."""
    runs: list[int] = []
    value = shift = 0
    for char in text:
        code = ord(char) - 48
        if not 0 <= code < 64 or shift > 60:
            raise ValueError("its run lengths are not in COCO's text form")
        value |= (code & 31) << shift
        shift += 5
        if code & 32:
            continue
        if code & 16:
            value -= 1 << shift
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value = shift = 0
    if shift:
        raise ValueError("its run lengths are cut off")
    return runs

"""Outlines and run lengths of a mask as COCO writes them, and back to pixels."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco_mask

from ..values.labels import Mask

Indices = npt.NDArray[np.intp]
# Characters of run lengths that are read at once, and of one number.
_AT_ONCE, _LONGEST = 1 << 20, 12


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


def rasterise(polygons: Sequence[Sequence[float]], shape: tuple[int, int]) -> str:
    """Run lengths, in COCO's text form, of the union of polygons, drawn by pycocotools."""
    drawn = coco_mask.frPyObjects([list(p) for p in polygons], *shape)
    whole = drawn[0] if len(drawn) == 1 else coco_mask.merge(drawn)
    text: str = whole["counts"].decode("ascii")
    return text


def packed(runs: Sequence[Any], shape: tuple[int, int]) -> str:
    """Run lengths in COCO's text form; ValueError where they do not fill an image of `shape`.

    pycocotools trusts its numbers and reads beyond its memory.
    """
    if any(type(n) is not int or n < 0 for n in runs):
        raise ValueError("a run has no whole length")
    _check_sum(sum(runs), shape)
    told = coco_mask.frPyObjects({"size": list(shape), "counts": list(runs)}, *shape)
    text: str = told["counts"].decode("ascii")
    return text


def pixels(texts: Sequence[str], shape: tuple[int, int]) -> Iterator[Indices]:
    """Flat column-by-column indices of the pixels that run lengths in COCO's text form name.

    Many are read at once: of tens of thousands of specks each has a few runs. Raises ValueError for
    texts in no such form, or that do not fill an image of `shape` exactly.
    """
    start, size = 0, 0
    for stop, text in enumerate(texts, start=1):
        size += len(text)
        if size > _AT_ONCE or stop == len(texts):
            yield from _pixels(texts[start:stop], shape)
            start, size = stop, 0


def _pixels(texts: Sequence[str], shape: tuple[int, int]) -> list[Indices]:
    area = shape[0] * shape[1]
    values, owner, number = _numbers(texts)
    if np.abs(values).max(initial=0) > area:
        raise ValueError("a run is longer than the image")
    runs = values.copy()
    for odd in (0, 1):  # from the fourth on each is told as difference to the one before the last
        told = (number % 2 == odd) & (number > 0)
        runs[told] = _sums(values[told], owner[told])
    if (runs < 0).any():
        raise ValueError("a run has no whole length")
    covered = np.bincount(owner, runs, len(texts)).astype(np.int64)
    for count in covered[covered != area][:1].tolist():
        _check_sum(count, shape)
    ones = number % 2 == 1
    lengths, ends = runs[ones], _sums(runs, owner)[ones]
    before = np.cumsum(lengths) - lengths
    found: Indices = np.arange(int(lengths.sum())) + np.repeat(ends - lengths - before, lengths)
    sizes = np.bincount(owner[ones], lengths, len(texts)).astype(np.int64)
    return np.split(found, np.cumsum(sizes)[:-1])


def _numbers(texts: Sequence[str]) -> tuple[Indices, Indices, Indices]:
    """The numbers of all texts, five bits a character; the text that each is of, and its place."""
    content = [text.encode(errors="surrogatepass") for text in texts]
    raw = np.frombuffer(b"".join(content), np.uint8).astype(np.int64) - 48
    last = raw & 32 == 0
    stops = np.cumsum([len(c) for c in content])
    ends = np.flatnonzero(last) + 1
    starts = np.concatenate([[0], ends])[:-1]
    sizes = ends - starts
    longest = np.diff(ends, prepend=0, append=len(raw)).max()
    if not ((raw >= 0) & (raw < 64)).all() or longest > _LONGEST:
        raise ValueError("its run lengths are not in COCO's text form")
    if not (all(content) and last[stops - 1].all()):
        raise ValueError("its run lengths are cut off")
    place = np.arange(len(raw)) - np.repeat(starts, sizes)
    values = np.add.reduceat((raw & 31) << (5 * place), starts)
    values -= np.where(raw[ends - 1] & 16, 1 << (5 * sizes), 0)
    owner = np.searchsorted(stops, starts, side="right")
    return values, owner, np.arange(len(values)) - np.searchsorted(owner, owner)


def _sums(values: Indices, owner: Indices) -> Indices:
    """Running sums that begin anew with every owner; owners are sorted."""
    sums: Indices = np.cumsum(values)
    heads = np.flatnonzero(np.diff(owner, prepend=-1))
    before = sums[heads] - values[heads]
    return sums - np.repeat(before, np.diff(heads, append=len(values)))


def _check_sum(covered: int, shape: tuple[int, int]) -> None:
    area = shape[0] * shape[1]
    if covered != area:
        raise ValueError(f"its runs cover {covered} of {area} pixels")

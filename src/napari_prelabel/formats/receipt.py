"""Comparing what was to be written with what a reader finds, class by class."""

from typing import Any

import numpy as np
import numpy.typing as npt

from ..values.labels import Ids, Mask
from ..values.vocabulary import IGNORE, Vocabulary
from .values import ClassReceipt

_EIGHT = np.ones((3, 3), bool)


def compare(written: Ids, read: Ids, vocabulary: Vocabulary) -> tuple[ClassReceipt, ...]:
    """One row per class that stands in either map, both (..., Y, X) uint16 of one shape.

    Ignored pixels (65535) have a row of their own.
    """
    size = IGNORE + 1
    before = np.bincount(written.ravel(), minlength=size)
    after = np.bincount(read.ravel(), minlength=size)
    kept = np.bincount(written[written == read].ravel(), minlength=size)
    names = {c.id: c.name for c in vocabulary.classes} | {IGNORE: "ignore"}
    rows = []
    for class_id in np.flatnonzero(before + after):
        if class_id == 0:
            continue
        lost, gained = before[class_id] - kept[class_id], after[class_id] - kept[class_id]
        holes = parts = 0
        if lost or gained:
            holes, parts = _pieces_lost(written == class_id, read == class_id)
        row = (before[class_id], after[class_id], lost, gained, holes, parts)
        rows.append(ClassReceipt(int(class_id), names[int(class_id)], *map(int, row)))
    return tuple(rows)


def _pieces_lost(before: Mask, after: Mask) -> tuple[int, int]:
    """(holes closed, parts without a pixel left) from one stack of masks (..., Y, X) to another."""
    from scipy import ndimage

    holes = parts = 0
    shape = (-1, *before.shape[-2:])
    for a, b in zip(before.reshape(shape), after.reshape(shape), strict=True):
        closed = _holes(a)
        holes += _untouched(closed, ~b)
        parts += _untouched(ndimage.label(a, _EIGHT)[0], b)
    return holes, parts


def _holes(mask: Mask) -> npt.NDArray[Any]:
    """Numbered holes of a (Y, X) mask: gaps that do not reach the border, edge-connected."""
    from scipy import ndimage

    gaps = ~np.pad(mask, 1)
    numbered, _ = ndimage.label(gaps)
    inner: npt.NDArray[Any] = numbered[1:-1, 1:-1]
    inner[inner == numbered[0, 0]] = 0
    return inner


def _untouched(numbered: npt.NDArray[Any], mask: Mask) -> int:
    """How many numbered pieces have no pixel in the mask."""
    pieces = np.unique(numbered[numbered > 0])
    return len(np.setdiff1d(pieces, numbered[mask]))

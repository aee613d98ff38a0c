"""Boxes around the bright parts of small maps, as CLIP-ES and FreeCP draw them.

A map is cut at a share of its maximum in 8-bit grey levels; every contour of what is left, outer
or around a hole, gives its upright bounding rectangle. All maps go through one labelling.
"""

import numpy as np
import numpy.typing as npt
from scipy import ndimage

Maps = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]
Boxes = npt.NDArray[np.intp]

_EIGHT = np.ones((3, 3), bool)


def bright(maps: Maps, threshold: float) -> Mask:
    """Where a map lies strictly above the whole grey level `int(threshold * its maximum)`.

    maps : (M, h, w) uint8
    threshold : share of the maximum, 0..1
    """
    cut = np.array([int(threshold * level) for level in range(256)], np.uint8)
    mask: Mask = maps > cut[maps.max((1, 2), initial=0)][:, None, None]
    return mask


def box_masks(maps: Maps, threshold: float) -> Mask:
    """Union of the boxes of every map's bright components (FreeCP's step 3).

    Boxes around holes lie inside those of their components, so they need not be drawn.

    maps : (M, h, w) uint8
    returns : (M, h, w) bool; the last row and the last column are never inside
    """
    m, h, w = maps.shape
    index, y0, x0, y1, x1 = _clip(_component_boxes(bright(maps, threshold)), h, w).T
    steps = np.zeros((m, h + 1, w + 1), np.int16)
    np.add.at(steps, (index, y0, x0), 1)
    np.add.at(steps, (index, y1, x1), 1)
    np.subtract.at(steps, (index, y0, x1), 1)
    np.subtract.at(steps, (index, y1, x0), 1)
    for y in range(1, h):  # many times faster than cumsum over short axes
        steps[:, y] += steps[:, y - 1]
    for x in range(1, w):
        steps[:, :, x] += steps[:, :, x - 1]
    return steps[:, :h, :w] > 0


def contour_boxes(maps: Maps, threshold: float) -> Boxes:
    """Boxes of all contours of every map, holes included (FreeCP's step 5).

    maps : (M, h, w) uint8
    returns : (n, 5) of (map, y0, x0, y1, x1), half-open, without repetitions, sorted.
        The end is cut at h - 1 and w - 1, so a box may be empty; a map without any contour has
        the one empty box (0, 0, 0, 0).
    """
    m, h, w = maps.shape
    mask = bright(maps, threshold)
    found = _clip(np.concatenate([_component_boxes(mask), _hole_boxes(mask)]), h, w)
    dark = np.setdiff1d(np.arange(m), found[:, 0])
    none = np.zeros((len(dark), 5), np.intp)
    none[:, 0] = dark
    return np.unique(np.concatenate([found, none]), axis=0)


def _component_boxes(mask: Mask) -> Boxes:
    """(n, 5) boxes of the 8-connected components; an empty row keeps the maps apart."""
    m, h, w = mask.shape
    stacked = np.zeros((m, h + 1, w), bool)
    stacked[:, :h] = mask
    labels, _ = ndimage.label(stacked.reshape(-1, w), structure=_EIGHT)
    return _rectangles(labels, h + 1)


def _hole_boxes(mask: Mask) -> Boxes:
    """(n, 5) boxes of the contours around holes: the hole and one pixel on each side.

    The frames around the maps touch, so all that is outside is the first component.
    """
    m, h, w = mask.shape
    framed = np.ones((m, h + 2, w + 2), bool)
    framed[:, 1:-1, 1:-1] = ~mask
    labels, _ = ndimage.label(framed.reshape(-1, w + 2))
    found = _rectangles(labels, h + 2)[1:]
    found += np.array([0, -2, -2, 0, 0])
    return found


def _rectangles(labels: npt.NDArray[np.int32], rows: int) -> Boxes:
    """(n, 5) boxes of labelled pixels in a stack of maps that are `rows` high."""
    slices = ndimage.find_objects(labels)
    found = np.array([(y.start, x.start, y.stop, x.stop) for y, x in slices], np.intp)
    found = found.reshape(-1, 4)
    index = found[:, 0] // rows
    found[:, [0, 2]] -= (index * rows)[:, None]
    return np.column_stack([index, found])


def _clip(boxes: Boxes, h: int, w: int) -> Boxes:
    clipped: Boxes = np.minimum(boxes, [np.iinfo(np.intp).max, h, w, h - 1, w - 1])
    return clipped

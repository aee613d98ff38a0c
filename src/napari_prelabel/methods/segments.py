"""Class-agnostic segments of an image, and class scores of segments spread over its pixels.

Overlapping masks add up (docs/methods/reme.md#retrieval); published settings:
docs/methods/reme.md#felzenszwalb. NumPy, SciPy and scikit-image only.
"""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image as Picture
from scipy import ndimage
from skimage import segmentation

from ..values.errors import ImageError, JobError
from ..values.retrieval import Preset, Proposals

Image = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int32]

# FreeDA's scale, sigma and min_size, for windows of 448 x 448 pixels
# (docs/methods/reme.md#felzenszwalb); sets that it has no setting for take that of the nearest one
# (same section).
PRESETS: dict[Preset, tuple[float, float, int]] = {
    "voc20": (100, 0.7, 20),
    "voc21": (100, 0.7, 20),
    "pc59": (100, 1.0, 20),
    "pc60": (100, 1.0, 20),
    "pc459": (100, 1.0, 20),
    "stuff": (100, 1.0, 100),
    "object": (100, 1.0, 100),
    "coco": (100, 1.0, 100),
    "city": (20, 0.5, 50),
    "ade": (100, 1.0, 20),
    "a847": (100, 1.0, 20),
    "coarse": (600, 0.8, 400),
}
PUBLISHED_SIDE = 448
# Larger images are cut shrunk to about this many pixels, for time.
LARGEST_AREA = 1024 * 1024
_CHUNK = 1 << 16


@dataclass(frozen=True, slots=True, eq=False)
class Segments:
    """Class-agnostic masks of an image; overlapping masks lie in different layers.

    layers : (L, H, W) int32; 0 uncovered, else 1..count. Masks of one layer do not overlap, a
        mask lies in one layer only, and the ids of all layers together are exactly 1..count.
    """

    layers: Labels
    count: int

    def areas(self) -> npt.NDArray[np.int64]:
        """(count,) pixels of each segment."""
        return np.bincount(self.layers.ravel(), minlength=self.count + 1)[1:]


def felzenszwalb_of(settings: Proposals) -> tuple[float, float, int]:
    """Scale, sigma and min_size for 448 x 448 pixels: the preset's, but where others are given."""
    scale, sigma, least = PRESETS[settings.preset]
    return (
        scale if settings.scale is None else settings.scale,
        sigma if settings.sigma is None else settings.sigma,
        least if settings.min_size is None else settings.min_size,
    )


def propose(image: Image, settings: Proposals) -> Segments:
    """Cut an image (H, W, 3) uint8 into segments; every layer covers every pixel.

    Raises JobError for the kinds that need a model: their masks go through `stack_masks`.
    """
    if image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise ImageError(f"Segments are cut out of an RGB image, not an array of {image.shape}.")
    if settings.kind not in _LEVELS:
        raise JobError("kind", f"{settings.kind} needs a model: choose adaptive without one.")
    height, width = image.shape[:2]
    small = image
    if height * width > LARGEST_AREA:
        share = (LARGEST_AREA / (height * width)) ** 0.5
        shape = max(1, round(width * share)), max(1, round(height * share))
        small = np.asarray(Picture.fromarray(image).resize(shape, Picture.Resampling.BOX))
    levels = [_numbered(level) for level in _LEVELS[settings.kind](small, settings)]
    layers = np.empty((len(levels), height, width), np.int32)
    rows = np.arange(height) * small.shape[0] // height
    columns = np.arange(width) * small.shape[1] // width
    total = 0
    for layer, (level, count) in zip(layers, levels, strict=True):
        layer[...] = level[rows[:, None], columns] + total
        total += count
    return Segments(layers, total)


def _felzenszwalb(image: Image, settings: Proposals) -> Iterator[Labels]:
    """The published settings, carried from windows of 448 x 448 to the area of the image.

    Areas (min_size, and scale, which is divided by the pixels of a region) go with the area,
    lengths (sigma) with its root. The image itself is neither enlarged nor shrunk for it.
    """
    ratio = (image.shape[0] * image.shape[1]) ** 0.5 / PUBLISHED_SIDE
    scale, sigma, least = felzenszwalb_of(settings)
    yield _felzenszwalb_of(image, scale * ratio**2, sigma * ratio, max(2, round(least * ratio**2)))


def _felzenszwalb_of(image: Image, scale: float, sigma: float, least: int) -> Labels:
    if min(image.shape[:2]) < 2:  # scikit-image divides by the number of edges across
        return _slic_of(image, least, 10.0)
    found: Labels = segmentation.felzenszwalb(image, scale=scale, sigma=sigma, min_size=least)
    return found + 1


def _slic(image: Image, settings: Proposals) -> Iterator[Labels]:
    size = max(settings.finest, round(image.shape[0] * image.shape[1] / settings.most))
    yield _slic_of(image, size, settings.compactness)


def _slic_of(image: Image, size: int, compactness: float) -> Labels:
    """Superpixels of about `size` pixels.

    In noise, clusters of colour fall into crumbs, which SLIC then joins into one. Where fewer
    than half of the wanted segments are left, squarer ones are asked for.
    """
    wanted = round(image.shape[0] * image.shape[1] / size)
    found = np.ones(image.shape[:2], np.int32)
    for times in (1, 4, 16) if wanted > 1 else ():
        found = segmentation.slic(
            image,
            n_segments=wanted,
            compactness=times * compactness,
            max_num_iter=5,
            start_label=1,
        )
        if 2 * int(found.max()) >= wanted:
            break
    return found


def _adaptive(image: Image, settings: Proposals) -> Iterator[Labels]:
    """Superpixels of a few pixels, of four and sixteen times as many, and Felzenszwalb's regions.

    Their scores add up (equation 3), so a pixel hears its closest surroundings and its region.
    """
    finest = max(settings.finest, round(image.shape[0] * image.shape[1] / settings.most))
    for factor in (1, 4, 16):
        yield _slic_of(image, finest * factor, settings.compactness)
    yield from _felzenszwalb(image, settings)


_LEVELS: dict[str, Callable[[Image, Proposals], Iterator[Labels]]] = {
    "adaptive": _adaptive,
    "felzenszwalb": _felzenszwalb,
    "slic": _slic,
}


def _numbered(level: npt.NDArray[np.integer[Any]]) -> tuple[Labels, int]:
    """Labels as 1..count without gaps, in the order of the old ones."""
    present = np.bincount(level.ravel()) > 0
    table = np.cumsum(present, dtype=np.int32)
    return table[level], int(table[-1])


def stack_masks(masks: npt.NDArray[np.bool_]) -> Segments:
    """Pack masks (k, H, W) bool, which may overlap, into few layers.

    The largest go first, each into the first layer where it has room. Segment i is the i-th mask
    that has a pixel; empty masks are left out.
    """
    if masks.ndim != 3:
        raise ImageError(f"Masks are (k, H, W), not an array of {masks.shape}.")
    areas = masks.sum((1, 2))
    kept = np.flatnonzero(areas)
    layers: list[Labels] = []
    for number in sorted(range(len(kept)), key=lambda i: -areas[kept[i]]):
        mask = masks[kept[number]]
        for layer in layers:
            if not layer[mask].any():
                layer[mask] = number + 1
                break
        else:
            layers.append(np.where(mask, np.int32(number + 1), np.int32(0)))
    shape = (0, *masks.shape[1:])
    return Segments(np.stack(layers) if layers else np.zeros(shape, np.int32), len(kept))


def correction_segments(
    ids: npt.NDArray[np.uint16],
    image: Image,
    ignore: Collection[int],
    settings: Proposals,
    least: int = 4,
) -> tuple[Segments, npt.NDArray[np.uint16]]:
    """An annotator's own regions and, inside them, the superpixels of the image.

    The first layer holds the connected regions of one id (8-connected). The others are the
    layers of `propose`, cut at the borders of the annotation; pieces of fewer than `least`
    pixels, which hold more border than anything else, are left out, and so are pieces that are
    a whole region. Superpixels are cut as those of an image to be labelled, so that like is
    compared with like.

    ids : (H, W) uint16; pixels whose id is in `ignore` belong to no segment.

    Returns
    -------
    segments, class id of each (count,) uint16
    """
    if ids.shape != image.shape[:2]:
        raise ImageError(f"Labels of {ids.shape} do not fit an image of {image.shape[:2]} pixels.")
    wanted = ~np.isin(ids, list(ignore))
    regions = _regions(ids, wanted)
    sizes = np.bincount(regions.ravel())
    layers, classes = [regions], [_class_of(regions, ids, len(sizes) - 1)]
    cut = propose(image, settings) if settings.kind in _LEVELS else None
    for proposed in cut.layers if cut is not None else ():
        # A superpixel that two regions share gives one piece for each.
        key = np.where(wanted, proposed.astype(np.int64) * len(sizes) + regions, 0)
        values, inverse, counts = np.unique(key, return_inverse=True, return_counts=True)
        whole = counts == sizes[values % len(sizes)]
        good = (values > 0) & (counts >= least) & ~whole
        table = np.where(good, np.cumsum(good), 0).astype(np.int32)
        piece = table[inverse.reshape(ids.shape)]
        classes.append(_class_of(piece, ids, int(table.max(initial=0))))
        layers.append(piece)
    total = 0
    for layer, found in zip(layers, classes, strict=True):
        layer[layer > 0] += total
        total += len(found)
    return Segments(np.stack(layers), total), np.concatenate(classes)


def _regions(ids: npt.NDArray[np.uint16], wanted: npt.NDArray[np.bool_]) -> Labels:
    """(H, W) int32, 1..n for 8-connected regions of one id, 0 where not wanted."""
    from skimage.measure import label

    found: Labels = label(np.where(wanted, ids.astype(np.int64) + 1, 0), background=0)
    return found.astype(np.int32)


def _class_of(layer: Labels, ids: npt.NDArray[np.uint16], count: int) -> npt.NDArray[np.uint16]:
    """(count,) the id under each piece; pieces hold one id only."""
    found = np.zeros(count + 1, np.uint16)
    found[layer.ravel()] = ids.ravel()
    return found[1:]


def spread(
    scores: npt.NDArray[np.floating[Any]], segments: Segments
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.float32], npt.NDArray[np.intp]]:
    """Decide every pixel by the sum of the scores of all segments that cover it (equation 3).

    scores : (count, C), not negative. Pixels that no segment covers take the answer of the
        nearest pixel that has one (docs/methods/reme.md#retrieval). No (C, H, W) array is made:
        pixels under the same segments are decided together.

    Returns
    -------
    best (H, W) intp, the column of the highest sum, the first of equals;
    share (H, W) float32, its part of the sum over all columns, 0..1;
    second (H, W) intp, the column of the next highest sum, -1 where there is none above 0

    Raises
    ------
    ImageError : scores of another number of segments, or no segment at all
    """
    if len(scores) != segments.count or not segments.count or not scores.shape[1]:
        raise ImageError(
            f"{len(scores)} rows of scores do not answer for {segments.count} segments: "
            "cut the image again, with finer segments if there are none."
        )
    together, tuples = _together(segments)
    best = np.empty(len(tuples), np.intp)
    second = np.empty(len(tuples), np.intp)
    share = np.empty(len(tuples), np.float32)
    padded = np.concatenate([np.zeros((1, scores.shape[1]), np.float32), scores.astype(np.float32)])
    step = max(1, (_CHUNK << 5) // scores.shape[1])
    for start in range(0, len(tuples), step):
        part = np.s_[start : start + step]
        best[part], share[part], second[part] = _decided(padded, tuples[part])
    empty = ~(tuples > 0).any(1)
    if empty.any():
        together = _nearest(together, int(np.flatnonzero(empty)[0]))
    return best[together], share[together], second[together]


def _together(segments: Segments) -> tuple[npt.NDArray[np.intp], Labels]:
    """Index (H, W) of each pixel's set of segments, and the sets (U, L), 0 for none."""
    layers = segments.layers
    index = np.zeros(layers.shape[1:], np.int64)
    for layer in layers:
        key = index * (segments.count + 1) + layer
        _, index = np.unique(key, return_inverse=True)
        index = index.reshape(layer.shape)
    sets = np.zeros((int(index.max()) + 1, len(layers)), np.int32)
    sets[index.ravel()] = layers.reshape(len(layers), -1).T
    return index.astype(np.intp), sets


def _decided(
    padded: npt.NDArray[np.float32], sets: Labels
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.float32], npt.NDArray[np.intp]]:
    sums = padded[sets[:, 0]]
    for column in sets.T[1:]:
        sums += padded[column]
    rows = np.arange(len(sums))
    total = sums.sum(1)
    best = sums.argmax(1)
    top = sums[rows, best]
    share = np.divide(top, total, out=np.zeros_like(top), where=total > 0)
    sums[rows, best] = -1
    second = sums.argmax(1)
    return best, share, np.where(sums[rows, second] > 0, second, -1)


def _nearest(index: npt.NDArray[np.intp], empty: int) -> npt.NDArray[np.intp]:
    """The index with pixels of `empty` given that of the nearest other pixel."""
    y, x = ndimage.distance_transform_edt(
        index == empty, return_distances=False, return_indices=True
    )
    filled: npt.NDArray[np.intp] = index[y, x]
    return filled

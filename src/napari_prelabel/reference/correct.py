"""From a corrected image to what a reference set keeps of it: the annotator's own regions, and
inside them the superpixels, each with the word of its class."""

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import ndimage

from ..images.rgb import Rgb
from ..methods.segments import Segments, correction_segments
from ..values.errors import ImageError
from ..values.labels import Ids
from ..values.retrieval import Proposals
from ..values.vocabulary import IGNORE, UNLABELLED, Vocabulary
from .values import Addition, Box, Rows, Segment, Source, with_position

LEAST = 4
MOST = 2000
THUMBNAIL = 64
# A segment's picture shows at least this much around it, in steps, so that neighbours share one.
_WINDOW, _STEP = 64, 32
_PROPOSALS = Proposals()
_EVEN = 8


Pool = Callable[[Segments], Rows]


@dataclass(frozen=True, slots=True, eq=False)
class Corrected:
    """What an image gives: `skipped` regions had fewer than LEAST pixels."""

    addition: Addition
    skipped: int


def addition(
    image: Rgb,
    ids: Ids,
    vocabulary: Vocabulary,
    pool: Pool,
    source: Source,
    *,
    proposals: Proposals = _PROPOSALS,
    position: bool = False,
    most: int = MOST,
) -> Corrected:
    """Cut a corrected image into segments and name them.

    image : (H, W, 3) uint8. ids : (H, W) uint16 of the vocabulary; 0 and 65535 give no segment.
    pool : gives the encoder's unit row (count, width) of each segment of this image.
    most : of more segments a part is drawn, by the image's hash, that leaves every class its
        regions and its share of superpixels, an eighth of `most` parted evenly so that rare
        classes keep some: more would tell that they are common, and cost pixels.

    Raises ImageError for labels that do not fit the image or hold an id of no class.
    """
    _check(image, ids, vocabulary, source)
    segments, classes = correction_segments(ids, image, {UNLABELLED, IGNORE}, proposals, LEAST)
    areas = segments.areas()
    regions = int(segments.layers[0].max(initial=0))
    large = areas >= LEAST
    skipped = int((~large[:regions]).sum())
    kept = _drawn(classes, large, regions, most, int(source.hash[:16], 16))
    if not len(kept):
        empty = Addition(source, np.empty((0, 0), np.float32), (), ())
        return Corrected(empty, skipped)
    chosen = only(segments, kept)
    boxes = boxes_of(chosen)
    rows = np.asarray(pool(chosen), np.float32)
    if position:
        rows = with_position(rows, boxes, source.size)
    names = {c.id: c.name for c in vocabulary.classes}
    told = tuple(
        Segment(box, int(areas[i]), (names[int(classes[i])],))
        for box, i in zip(boxes, kept.tolist(), strict=True)
    )
    return Corrected(Addition(source, rows, told, tuple(thumbnails(image, boxes))), skipped)


def declared(vocabulary: Vocabulary) -> dict[str, tuple[str, ...]]:
    """The synonyms of a vocabulary's classes, as `ReferenceSet.declare` takes them."""
    return {c.name: c.synonyms for c in vocabulary.classes if c.synonyms}


def thumbnails(image: Rgb, boxes: list[Box]) -> Iterator[bytes]:
    """A PNG of what lies around each box, its longest side at most 64 pixels."""
    made: dict[Box, bytes] = {}
    for box in boxes:
        window = _window(box, (image.shape[0], image.shape[1]))
        if window not in made:
            made[window] = _png(image, window)
        yield made[window]


def _window(box: Box, size: tuple[int, int]) -> Box:
    """The part of the image that is shown for a box."""
    ends = []
    for first, last, length in ((box[0], box[2], size[0]), (box[1], box[3], size[1])):
        if last - first <= _STEP:
            first = min(first // _STEP * _STEP, max(length - _WINDOW, 0))
            last = min(first + _WINDOW, length)
        ends.append((first, last))
    return ends[0][0], ends[1][0], ends[0][1], ends[1][1]


def _png(image: Rgb, window: Box) -> bytes:
    y0, x0, y1, x1 = window
    picture = Image.fromarray(np.ascontiguousarray(image[y0:y1, x0:x1]))
    picture.thumbnail((THUMBNAIL, THUMBNAIL))
    file = io.BytesIO()
    picture.save(file, "PNG", compress_level=6)
    return file.getvalue()


def _check(image: Rgb, ids: Ids, vocabulary: Vocabulary, source: Source) -> None:
    if image.shape[:2] != ids.shape or source.size != ids.shape:
        raise ImageError(
            f"The labels of {source.name} have {ids.shape} pixels, its image {image.shape[:2]}: "
            "choose the labels that belong to it."
        )
    strange = np.setdiff1d(ids, [UNLABELLED, IGNORE, *(c.id for c in vocabulary.classes)])
    if len(strange):
        raise ImageError(
            f"The labels of {source.name} hold id {strange[0]}, but the vocabulary has "
            f"{len(vocabulary.classes)} classes: choose the vocabulary that they were made with."
        )


def _drawn(
    classes: npt.NDArray[np.uint16],
    large: npt.NDArray[np.bool_],
    regions: int,
    most: int,
    seed: int,
) -> npt.NDArray[np.intp]:
    """Indices of the segments to keep, ascending: all regions, then superpixels up to `most`."""
    every = np.flatnonzero(large)
    first, rest = every[every < regions], every[every >= regions]
    room = max(most - len(first), 0)
    if len(rest) <= room:
        return every
    order = np.random.default_rng(seed).permutation(rest)
    found, inverse = np.unique(classes[order], return_inverse=True)
    even = room // (_EVEN * len(found))
    rank = np.empty(len(order), np.intp)
    for number in range(len(found)):
        mine = np.flatnonzero(inverse == number)
        rank[mine] = np.arange(len(mine))
    ordered = order[np.argsort(rank >= even, kind="stable")]
    return np.sort(np.concatenate([first, ordered[:room]]))


def only(segments: Segments, kept: npt.NDArray[np.intp]) -> Segments:
    """Only these segments, numbered anew in their order."""
    table = np.zeros(segments.count + 1, np.int32)
    table[kept + 1] = np.arange(1, len(kept) + 1)
    return Segments(table[segments.layers], len(kept))


def boxes_of(segments: Segments) -> list[Box]:
    """(y0, x0, y1, x1) of every segment."""
    boxes: list[Box] = [(0, 0, 0, 0)] * segments.count
    for layer in segments.layers:
        for number, found in enumerate(ndimage.find_objects(layer)):
            if found is not None:
                y, x = found
                boxes[number] = (y.start, x.start, y.stop, x.stop)
    return boxes

"""From a plain image and its caption to what a set keeps of it (docs/methods/reme.md#pairing).

Segments and phrases meet in CLIP's space: every phrase goes to the segment that it is most
similar to, and a segment that no phrase went to is discarded. Nothing is loaded here.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ..images.rgb import Rgb
from ..methods.pairs import pair
from ..methods.segments import Segments
from ..values.errors import ImageError
from .correct import Pool, boxes_of, only, thumbnails
from .phrases import Extract, Phrase
from .values import Addition, Rows, Segment, Source, with_position

TextRows = Callable[[Sequence[str]], Rows]


@dataclass(frozen=True, slots=True, eq=False)
class Paired:
    """What an image gives: its named segments, how many phrases, how many segments without."""

    addition: Addition
    phrases: int
    discarded: int


def addition(
    image: Rgb,
    captions: Sequence[str],
    segments: Segments,
    source: Source,
    *,
    extract: Extract,
    words: TextRows,
    place: Pool,
    pool: Pool,
    position: bool = False,
) -> Paired:
    """Name an image's segments by its captions.

    Parameters
    ----------
    image : (H, W, 3) uint8
    segments : of the image, any proposals
    extract : gives the phrases of a caption, `phrases.extractor`
    words : gives CLIP's unit rows (n, e) of phrases, over the four templates
    place : gives CLIP's unit rows (count, e) of segments, pooled over ClearCLIP's features
        (docs/methods/reme.md#r4)
    pool : gives the set's unit rows (count, width) of segments
    position : add where segments lie, as the set has it

    Returns
    -------
    Paired; its addition is empty where there are no phrases or no segments

    Raises
    ------
    ImageError
        The segments are not of this image.
    """
    if segments.layers.shape[1:] != image.shape[:2] or source.size != image.shape[:2]:
        raise ImageError(
            f"The segments of {source.name} have {segments.layers.shape[1:]} pixels, its image "
            f"{image.shape[:2]}: cut the image again."
        )
    phrases = tuple(dict.fromkeys(p for caption in captions for p in extract(caption)))
    if not phrases or not segments.count:
        empty = Addition(source, np.empty((0, 0), np.float32), (), ())
        return Paired(empty, len(phrases), segments.count)
    owner = pair(place(segments), words([p.text for p in phrases]))
    kept = np.unique(owner)
    chosen = only(segments, kept)
    boxes = boxes_of(chosen)
    rows = np.asarray(pool(chosen), np.float32)
    if position:
        rows = with_position(rows, boxes, source.size)
    areas = chosen.areas().tolist()
    told = [[p for p, i in zip(phrases, owner, strict=True) if i == k] for k in kept]
    named = tuple(_named(*each) for each in zip(boxes, areas, told, strict=True))
    made = Addition(source, rows, named, tuple(thumbnails(image, boxes)))
    return Paired(made, len(phrases), segments.count - len(kept))


def _named(box: tuple[int, int, int, int], area: int, phrases: Sequence[Phrase]) -> Segment:
    words, roots = tuple(p.text for p in phrases), tuple(p.root for p in phrases)
    return Segment(box, area, words, "caption", roots)

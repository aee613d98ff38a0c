"""Label maps and what is done to them: decide, compare, renumber. NumPy only."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from .errors import ImageError
from .vocabulary import UNLABELLED, Vocabulary

Ids = npt.NDArray[np.uint16]
Mask = npt.NDArray[np.bool_]
Scores = npt.NDArray[np.floating[Any]]
Provenance = npt.NDArray[np.uint8]

# Values of provenance, (Y, X) uint8: who decided a pixel. How a map was made is its record.
MODEL, HUMAN, IMPORTED, REVIEWED = 0, 1, 2, 3


@dataclass(frozen=True, slots=True, eq=False)
class LabelMap:
    """One class per pixel of an image (or of its region), and how sure the method was.

    ids : (Y, X) uint16, ids of the vocabulary; 0 unlabelled, 65535 ignore.
    score : (Y, X) float16, 0..1, of the class in `ids`.
    runner_up : (Y, X) uint16, second-best class, 0 where there is none.
    origin : (y, x) of this map's first pixel in the image.
    notices : sentences the person must read beside the result.
    record : how it came about (method, models, digests, versions); plain JSON values.
    """

    ids: Ids
    score: npt.NDArray[np.float16]
    runner_up: Ids
    vocabulary: Vocabulary
    origin: tuple[int, int] = (0, 0)
    notices: tuple[str, ...] = ()
    record: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.ids.ndim != 2 or {self.ids.shape} != {self.score.shape, self.runner_up.shape}:
            raise ImageError(
                "ids, score and runner_up of a label map must be 2-D and of one shape, not "
                f"{self.ids.shape}, {self.score.shape}, {self.runner_up.shape}."
            )

    def counts(self) -> dict[int, int]:
        """Pixels of each id of the vocabulary, 0 included."""
        size = len(self.vocabulary.classes) + 1
        found = np.bincount(self.ids.ravel(), minlength=size)[:size]
        return {i: int(n) for i, n in enumerate(found)}

    def only(self, valid: Mask | None) -> "LabelMap":
        """Unlabelled, sure of nothing, where the image has no picture.

        valid : (H, W) of the whole image, as `images.rgb.Shown` has it; None is everywhere.
        """
        if valid is None:
            return self
        (y, x), (h, w) = self.origin, self.ids.shape
        here = valid[y : y + h, x : x + w]
        parts = {n: getattr(self, n) * here for n in ("ids", "score", "runner_up")}
        return replace(self, **parts)

    def above(self, score: float) -> Ids:
        """The ids, with pixels less sure than `score` left unlabelled."""
        return np.where(self.score >= np.float16(score), self.ids, np.uint16(UNLABELLED))


def read_record(data: Mapping[str, Any]) -> dict[str, Any]:
    """How labels were made, out of a file's table or a layer's metadata; {} where it is not told.

    Earlier versions called it `provenance` in files and `run` in layers and kept annotations.
    """
    told = next((data[key] for key in ("record", "provenance", "run") if key in data), None)
    return dict(told) if isinstance(told, Mapping) else {}


def decide(
    scores: Scores, background: Scores | None = None
) -> tuple[Ids, npt.NDArray[np.float16], Ids]:
    """Best class, its score and the second-best class of every pixel.

    scores : (C, Y, X), class i has id i + 1; equal scores go to the lower id. Where they may be
        written to they may change during the call, not by it.
    background : (Y, X) score of "none of the classes", or None; where it is at least as high
        as every class the pixel is unlabelled (docs/methods/freecp.md#decision).

    Returns
    -------
    ids (Y, X) uint16, score (Y, X) float16, runner_up (Y, X) uint16
    """
    ids, top, second, beaten = (_ranked_together if _together(scores) else _ranked)(scores)
    second[beaten <= 0] = 0
    if background is not None:
        empty = background >= top
        second[empty] = np.where(top > 0, ids, 0)[empty]
        ids[empty] = UNLABELLED
        top = np.where(empty, background, top)
    return ids, np.clip(top, 0, 1).astype(np.float16), second


def _together(scores: Scores) -> bool:
    """Whether the classes of a pixel lie side by side in memory, and pixels one after another."""
    return np.moveaxis(scores, 0, -1).flags.c_contiguous


def _ranked_together(scores: Scores) -> tuple[Ids, Scores, Ids, Scores]:
    """As `_ranked`, by `argmax` along memory.

    For the second-best class the best one is struck out for a moment: a copy would take as long.
    """
    count, shape = len(scores), scores.shape[1:]
    pixels = np.moveaxis(scores, 0, -1).reshape(-1, count)
    pixels = pixels if pixels.flags.writeable else pixels.copy()
    flat = pixels.reshape(-1)
    first_of_pixel = np.arange(0, flat.size, count)
    best = pixels.argmax(1)
    at = best + first_of_pixel
    top = flat[at]
    flat[at] = -np.inf
    second = pixels.argmax(1)
    beaten = flat[second + first_of_pixel]
    flat[at] = top
    ids, seconds = ((i + 1).astype(np.uint16).reshape(shape) for i in (best, second))
    return ids, top.reshape(shape), seconds, beaten.reshape(shape)


def _ranked(scores: Scores) -> tuple[Ids, Scores, Ids, Scores]:
    """Ids and scores of the best and of the second-best class; with one class it beats -inf."""
    ids, top = _best(scores)
    rest = scores.copy()
    np.put_along_axis(rest, ids[None].astype(np.intp) - 1, -np.inf, 0)
    return ids, top, *_best(rest)


def _best(scores: Scores) -> tuple[Ids, Scores]:
    """Id of the first of the highest classes, and its score.

    `argmax` over the first axis walks across memory; two maxima are seven times faster.
    """
    top = scores.max(0)
    count = len(scores)
    rank = np.arange(count, 0, -1, dtype=np.uint16).reshape(-1, *[1] * top.ndim)
    ids: Ids = np.uint16(count + 1) - ((scores == top) * rank).max(0)
    return ids, top


def changes(before: Ids, after: Ids) -> dict[tuple[int, int], int]:
    """What changed between two maps of one shape: `(old id, new id) -> pixels`, largest first."""
    if before.shape != after.shape:
        raise ImageError(f"Maps of {before.shape} and {after.shape} pixels cannot be compared.")
    changed = before != after
    # Both ids in one number: np.unique over an axis takes a hundred times as long.
    codes = before[changed].astype(np.uint32) << 16 | after[changed]
    pairs, counts = np.unique(codes, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    return {(int(pairs[i] >> 16), int(pairs[i] & 0xFFFF)): int(counts[i]) for i in order}


def relabel(ids: Ids, mapping: Mapping[int, int]) -> Ids:
    """A copy of `ids` with every id replaced at once; ids not named stay as they are."""
    table = np.arange(65536, dtype=np.uint16)
    for old, new in mapping.items():
        table[old] = new
    return table[ids]


def one_channel(values: npt.NDArray[Any]) -> npt.NDArray[Any] | None:
    """(Y, X) of a map (Y, X, C) that was saved in colours which are all grey; None of others.

    C : 3 colours, 4 with opacity, 2 grey with opacity. What is wholly transparent is 0.
    """
    colours = values[..., :3] if values.shape[-1] > 2 else values[..., :1]
    if (colours != colours[..., :1]).any():
        return None
    grey = colours[..., 0]
    return np.where(values[..., -1] == 0, 0, grey) if values.shape[-1] in (2, 4) else grey

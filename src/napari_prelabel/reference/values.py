"""What a reference set is made of, as frozen values. NumPy only."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ..values.errors import ImageError
from ..values.retrieval import Cleaning

Rows = npt.NDArray[np.float32]
Box = tuple[int, int, int, int]
Origin = Literal["correction", "caption"]
Reason = Literal["abstract", "outlier"]

ORIGINS: tuple[Origin, ...] = ("correction", "caption")
REASONS: tuple[Reason, ...] = ("abstract", "outlier")
POSITION_WIDTH = 2


@dataclass(frozen=True, slots=True)
class EncoderId:
    """A model that gave the rows of a set: two are equal when their rows can be compared."""

    name: str
    digest: str
    width: int


@dataclass(frozen=True, slots=True)
class Source:
    """The image that segments come from.

    hash : hex SHA-256, `pixels.content_hash` of its RGB pixels; names it everywhere.
    name : for people; no file of this name is ever opened.
    size : (H, W) in pixels.
    reviewed : ISO 8601 in UTC, "" if unknown.
    """

    hash: str
    name: str
    size: tuple[int, int]
    author: str = ""
    reviewed: str = ""
    licence: str = ""


@dataclass(frozen=True, slots=True)
class Segment:
    """A region of a source and what it is called.

    box : (y0, x0, y1, x1) in pixels, the ends outside.
    area : pixels.
    words : phrases; of a correction, the name of its class.
    roots : the root noun of each phrase, in their order; () when every phrase is its own root.
    """

    box: Box
    area: int
    words: tuple[str, ...]
    origin: Origin = "correction"
    roots: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Addition:
    """All segments of one image.

    embeddings : (n, d) float32, finite unit rows in the order of the segments.
    thumbnails : n PNG files, longest side at most 64 pixels.
    """

    source: Source
    embeddings: Rows
    segments: tuple[Segment, ...]
    thumbnails: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Label:
    """A phrase of the set: `id` is its column in the links, `count` the segments that hold it
    before cleaning, 0 for a phrase that enrichment made."""

    id: int
    phrase: str
    root: str
    synonyms: tuple[str, ...] = ()
    count: int = 0


@dataclass(frozen=True, slots=True)
class Record:
    """A row of the set, told in full.

    words : phrases that count after all cleaning steps.
    dropped : (phrase, reason) of those that cleaning took away.
    """

    row: int
    segment: Segment
    source: Source
    words: tuple[str, ...]
    dropped: tuple[tuple[str, str], ...]
    enabled: bool


@dataclass(frozen=True, slots=True)
class Cleaned:
    """What the last cleaning of a set did.

    abstract : the roots it took for abstract, the most frequent first.
    dropped : pairs of segment and phrase taken away, per reason.
    synonyms : pairs of roots held for synonyms.
    added : pairs of segment and phrase that they gave.
    """

    settings: Cleaning
    abstract: tuple[str, ...] = ()
    synonyms: tuple[tuple[str, str], ...] = ()
    dropped_abstract: int = 0
    dropped_outliers: int = 0
    added: int = 0

    @property
    def dropped(self) -> int:
        return self.dropped_abstract + self.dropped_outliers


@dataclass(frozen=True, slots=True, eq=False)
class Metric:
    """Whitening: rows and queries are compared after `normalise((x - mean) @ matrix)`.

    mean : (d,) float32; matrix : (d, e) float32.
    """

    mean: Rows
    matrix: Rows


@dataclass(frozen=True, slots=True)
class ClassStats:
    """What a set holds of one root word.

    segments, images : with at least one phrase of this root, before cleaning.
    off : segments among them that were switched off.
    dropped : pairs of segment and phrase that cleaning takes away.
    synonyms : other words for it: those declared, and the roots that enrichment found.
    """

    word: str
    segments: int
    images: int
    off: int = 0
    dropped: int = 0
    synonyms: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Counts:
    """How much a set holds; licences : images under each licence, "" for none told."""

    segments: int = 0
    images: int = 0
    labels: int = 0
    licences: dict[str, int] = field(default_factory=dict)


def with_position(rows: Rows, boxes: Sequence[Box], size: tuple[int, int]) -> Rows:
    """Append where segments lie: their boxes' middles, from -0.5 to 0.5 of the image's sides.

    rows : (n, d) float32; boxes : n of (y0, x0, y1, x1); size : (H, W).

    Returns
    -------
    (n, d + 2) float32, rows of length 1
    """
    if len(rows) != len(boxes):
        raise ImageError(f"{len(rows)} rows and {len(boxes)} boxes do not belong together.")
    corners = np.asarray(boxes, np.float64).reshape(-1, 4)
    middle = (corners[:, :2] + corners[:, 2:]) / 2 / np.asarray(size, np.float64) - 0.5
    out = np.concatenate([rows, middle.astype(np.float32)], axis=1)
    length: npt.NDArray[Any] = np.linalg.norm(out, axis=1, keepdims=True)
    return np.asarray(out / np.maximum(length, 1e-12), np.float32)

"""What is said about the segments of a set beside their files: switches, synonyms, cleaning.

Segments are named by their image's hash and their place in it, so that these marks stay right
when shards are joined or images leave.
"""

import hashlib
import json
from collections.abc import Container, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np
import numpy.typing as npt
from pydantic import ConfigDict

from ..formats.atomic import Fill
from .arrays import damaged, npy, open_npy
from .manifest import (
    CLEANING,
    METRIC,
    STATE,
    CleaningEntry,
    Count,
    Hex,
    MetricEntry,
    StateEntry,
    read_json,
    validated,
)
from .values import Cleaned, Metric

Files = Mapping[Path, Fill]
Table = npt.NDArray[np.int32]
_STRICT = ConfigDict(extra="forbid", strict=True)


@dataclass(frozen=True, slots=True)
class State:
    """Segments switched off, `hash -> places`, and declared synonyms, `word -> other words`."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT
    off: dict[Hex, tuple[Count, ...]] = field(default_factory=dict)
    synonyms: dict[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CleaningHead:
    """The tables that the cleaning's rows point into.

    images : hashes; phrases : (phrase, root).
    """

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT
    cleaned: Cleaned
    images: tuple[Hex, ...] = ()
    phrases: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class CleaningMarks:
    """A cleaning's results.

    dropped : (k, 4) int32 of image, place, phrase, reason; added : (k, 3) of image, place, phrase.
    """

    head: CleaningHead
    dropped: Table
    added: Table


def pack_state(folder: Path, serial: int, state: State) -> tuple[StateEntry, Files]:
    """The file of a state and its entry in the manifest."""
    data = json.dumps(asdict(state), sort_keys=True, ensure_ascii=False).encode()
    entry = StateEntry(serial, hashlib.sha256(data).hexdigest())
    return entry, {folder / STATE.format(serial): data}


def open_state(folder: Path, entry: StateEntry | None) -> State:
    """The state of a set; raises ReferenceSetError."""
    if entry is None:
        return State()
    path = folder / STATE.format(entry.serial)
    state: State = validated(State, read_json(path), path)
    return state


def pack_cleaning(folder: Path, serial: int, marks: CleaningMarks) -> tuple[CleaningEntry, Files]:
    """The files of a cleaning and their entry in the manifest."""
    head = json.dumps(asdict(marks.head), sort_keys=True, ensure_ascii=False).encode()
    digest = hashlib.sha256(head)
    for table in (marks.dropped, marks.added):
        digest.update(table.tobytes())
    entry = CleaningEntry(serial, len(marks.dropped), len(marks.added), digest.hexdigest())
    fills: list[Fill] = [head, npy(marks.dropped), npy(marks.added)]
    names = [folder / name.format(serial) for name in CLEANING]
    return entry, dict(zip(names, fills, strict=True))


def open_cleaning(folder: Path, entry: CleaningEntry) -> CleaningMarks:
    """A cleaning's results; raises ReferenceSetError unless every row points into its tables."""
    paths = [folder / name.format(entry.serial) for name in CLEANING]
    head: CleaningHead = validated(CleaningHead, read_json(paths[0]), paths[0])
    dropped = open_npy(paths[1], "<i4", (entry.dropped, 4))
    added = open_npy(paths[2], "<i4", (entry.added, 3))
    for path, table, limits in (
        (paths[1], dropped, (len(head.images), 2**31, len(head.phrases), 2)),
        (paths[2], added, (len(head.images), 2**31, len(head.phrases))),
    ):
        if len(table) and ((table < 0) | (table >= np.asarray(limits, np.int64))).any():
            raise damaged(path, "points outside its tables")
    return CleaningMarks(head, dropped, added)


def moved_marks(
    marks: CleaningMarks, gone: Container[str], moves: Mapping[str, Mapping[int, int]]
) -> CleaningMarks:
    """A cleaning's results without those of images that are `gone`, but for the places in `moves`.

    moves : hash -> old place -> the place of the same segment in what replaced its image.
    """
    images = marks.head.images
    left = np.asarray([h in gone for h in images], bool)

    def moved(table: Table) -> Table:
        out = np.array(table)
        at = np.flatnonzero(left[out[:, 0]])
        places = [moves.get(images[i], {}).get(place, -1) for i, place in out[at, :2].tolist()]
        out[at, 1] = places
        return np.asarray(out[out[:, 1] >= 0], np.int32)

    return CleaningMarks(marks.head, moved(marks.dropped), moved(marks.added))


def pack_metric(folder: Path, serial: int, metric: Metric) -> tuple[MetricEntry, Files]:
    """The files of a whitening and their entry in the manifest."""
    mean, matrix = (np.asarray(a, np.float32) for a in (metric.mean, metric.matrix))
    digest = hashlib.sha256(mean.tobytes() + matrix.tobytes())
    entry = MetricEntry(serial, matrix.shape[1], digest.hexdigest())
    names = [folder / name.format(serial) for name in METRIC]
    return entry, dict(zip(names, (npy(mean), npy(matrix)), strict=True))


def open_metric(folder: Path, entry: MetricEntry | None, width: int) -> Metric | None:
    """The whitening of a set; raises ReferenceSetError."""
    if entry is None:
        return None
    paths = [folder / name.format(entry.serial) for name in METRIC]
    mean = np.array(open_npy(paths[0], "<f4", (width,)))
    matrix = np.array(open_npy(paths[1], "<f4", (width, entry.width)))
    for path, array in zip(paths, (mean, matrix), strict=True):
        if not np.isfinite(array).all():
            raise damaged(path, "holds no numbers")
    return Metric(mean, matrix)

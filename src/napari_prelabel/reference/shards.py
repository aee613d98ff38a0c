"""Shards: the immutable files of some images' segments. Written once, opened memory-mapped."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..formats.atomic import Fill
from ..values.errors import ReferenceSetError
from ..values.vocabulary import key
from . import catalogue
from .arrays import damaged, npy, open_npy
from .catalogue import Run
from .manifest import LONGEST, SHARD, ShardEntry
from .values import Addition, Segment

Ints = npt.NDArray[np.int64]

MAX_ROWS = 16_384
# The exponent bits of float16: all of them set means infinite or not a number.
_NOT_FINITE = np.uint16(0x7C00)


@dataclass(eq=False)
class Shard:
    """A shard that was opened and checked.

    embeddings : (rows, width) float16, memory-mapped.
    pointers : (rows + 1,) int64 and columns : (links,) int32, the CSR of segment and phrase.
    runs : its images, those removed among them.
    """

    folder: Path
    entry: ShardEntry
    embeddings: npt.NDArray[np.float16]
    pointers: Ints
    columns: npt.NDArray[np.int32]
    runs: tuple[Run, ...]
    finite: set[tuple[int, int]] = field(default_factory=set)

    @property
    def live(self) -> tuple[Run, ...]:
        """The images that are still in the set."""
        removed = set(self.entry.removed)
        return tuple(run for i, run in enumerate(self.runs) if i not in removed)

    def seen_by(self, entry: ShardEntry) -> "Shard":
        """The same files with the images removed that another generation removes."""
        return self if entry == self.entry else replace(self, entry=entry)

    @property
    def catalogue(self) -> Path:
        return self.folder / SHARD[3].format(self.entry.serial)

    @cached_property
    def labels(self) -> list[tuple[str, str]]:
        """(phrase, root) of every column."""
        found = catalogue.labels(self.catalogue, self.entry.labels)
        if len(found) != self.entry.labels:
            raise damaged(self.catalogue, "lacks phrases")
        return found

    def block(self, start: int, stop: int) -> npt.NDArray[np.float16]:
        """Rows start..stop as they lie on the disk; refused when one is not finite."""
        if (start, stop) not in self.finite:
            self.check_finite(self.embeddings[start:stop])
            self.finite.add((start, stop))
        return self.embeddings[start:stop]

    def check_finite(self, rows: npt.NDArray[np.float16]) -> None:
        """Raise ReferenceSetError when a row holds NaN or infinity."""
        bits = np.ascontiguousarray(rows).view(np.uint16)
        if ((bits & _NOT_FINITE) == _NOT_FINITE).any():
            raise damaged(self.folder / SHARD[0].format(self.entry.serial), "holds no numbers")

    def additions(self) -> Iterator[Addition]:
        """The images still in the set, whole, one by one."""
        for run in self.live:
            rows = range(run.start, run.start + run.count)
            told = self.segments(rows)
            pictures = catalogue.thumbnails(self.catalogue, rows)
            if len(pictures) != run.count:
                raise damaged(self.catalogue, "lacks thumbnails")
            embeddings: Any = self.block(run.start, run.start + run.count)
            yield Addition(
                run.source,
                embeddings,
                tuple(told[row] for row in rows),
                tuple(pictures[row] for row in rows),
            )

    def segments(self, rows: Sequence[int]) -> dict[int, Segment]:
        """The segments of local rows, with the words they came with."""
        found = catalogue.segments(self.catalogue, rows)
        if len(found) != len(set(rows)):
            raise damaged(self.catalogue, "lacks segments")
        return {row: self._worded(row, found[row]) for row in found}

    def _worded(self, row: int, segment: Segment) -> Segment:
        told = [self.labels[c] for c in self.columns[self.pointers[row] : self.pointers[row + 1]]]
        words, roots = tuple(p for p, _ in told), tuple(r for _, r in told)
        return Segment(
            segment.box, segment.area, words, segment.origin, () if words == roots else roots
        )


def open_shard(folder: Path, entry: ShardEntry, width: int) -> Shard:
    """Open the files of a shard; raises ReferenceSetError unless all are as the entry says."""
    paths = [folder / name.format(entry.serial) for name in SHARD]
    embeddings = open_npy(paths[0], "<f2", (entry.rows, width))
    pointers = open_npy(paths[1], "<i8", (entry.rows + 1,))
    columns = open_npy(paths[2], "<i4", (entry.links,))
    if pointers[0] != 0 or pointers[-1] != entry.links or (np.diff(pointers) < 0).any():
        raise damaged(paths[1], "points outside the links")
    if len(columns) and not 0 <= columns.min() <= columns.max() < entry.labels:
        raise damaged(paths[2], "links to phrases that are not there")
    runs = catalogue.runs(paths[3], entry.images, entry.rows, entry.labels)
    if any(i >= entry.images for i in entry.removed):
        raise damaged(paths[3], "lacks images that the manifest removes")
    return Shard(folder, entry, embeddings, pointers, columns, runs)


def pack(
    folder: Path, serial: int, additions: Sequence[Addition]
) -> tuple[ShardEntry, Mapping[Path, Fill]]:
    """The files of a new shard, not yet written, and what the manifest says of it."""
    labels, pointers, columns = _links(additions)
    parts = [np.asarray(a.embeddings, np.float16) for a in additions]
    embeddings = np.concatenate(parts)
    told = list(labels.values())
    database = catalogue.build(additions, told)
    digest = hashlib.sha256(embeddings.tobytes())
    for part in (pointers.tobytes(), columns.tobytes(), repr(told).encode()):
        digest.update(part)
    for addition in additions:
        digest.update(addition.source.hash.encode())
    entry = ShardEntry(
        serial, len(embeddings), len(columns), len(told), len(additions), digest.hexdigest()
    )
    fills: list[Fill] = [npy(embeddings), npy(pointers), npy(columns), database]
    return entry, {
        folder / name.format(serial): fill for name, fill in zip(SHARD, fills, strict=True)
    }


def _links(
    additions: Iterable[Addition],
) -> tuple[dict[str, tuple[str, str]], Ints, npt.NDArray[np.int32]]:
    """Labels by their key, and the CSR of segment and label."""
    labels: dict[str, tuple[str, str]] = {}
    numbers: dict[str, int] = {}
    columns: list[int] = []
    pointers = [0]
    for addition in additions:
        for segment in addition.segments:
            roots = segment.roots or segment.words
            found = set()
            for word, root in zip(segment.words, roots, strict=True):
                name = key(word)
                if name not in labels:
                    numbers[name] = len(labels)
                    labels[name] = (word, root)
                found.add(numbers[name])
            columns += sorted(found)
            pointers.append(len(columns))
    return labels, np.asarray(pointers, np.int64), np.asarray(columns, np.int32)


def chunks(additions: Iterable[Addition]) -> Iterator[list[Addition]]:
    """Images together in shards of at most MAX_ROWS rows; an image is never split."""
    waiting: list[Addition] = []
    count = 0
    for addition in additions:
        rows = len(addition.segments)
        if waiting and count + rows > MAX_ROWS:
            yield waiting
            waiting, count = [], 0
        waiting.append(addition)
        count += rows
    if waiting:
        yield waiting


def check_addition(addition: Addition, width: int, folder: Path) -> None:
    """Raise ReferenceSetError unless an image's rows, segments and thumbnails fit together."""
    name, rows = addition.source.name, addition.embeddings
    count = len(addition.segments)
    fault = ""
    if rows.shape != (count, width) or len(addition.thumbnails) != count:
        fault = (
            f"{count} segments need embeddings of ({count}, {width}) and as many thumbnails, "
            f"not {rows.shape} and {len(addition.thumbnails)}"
        )
    elif not np.isfinite(rows).all() or (np.abs(rows) > np.finfo(np.float16).max).any():
        fault = "an embedding is not finite"
    elif not catalogue.is_hash(addition.source.hash):
        fault = "its hash is not a SHA-256 in hexadecimal digits"
    elif len(addition.source.licence) > LONGEST:
        fault = f"its licence is over {LONGEST} characters; give its name"
    elif any(s.roots and len(s.roots) != len(s.words) for s in addition.segments):
        fault = "a segment has another number of roots than of words"
    elif not all(catalogue.has_pixels(s) for s in addition.segments):
        fault = "a segment's box and area do not fit together"
    if fault:
        raise ReferenceSetError(
            folder, f"{name} cannot be added to the reference set {folder.name}: {fault}."
        )

"""One generation of a set, read only: rows, links, labels, and what is told of each segment."""

import contextlib
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from ..values.errors import ReferenceSetError
from ..values.vocabulary import key
from . import catalogue
from .arrays import damaged
from .manifest import MANIFEST, Manifest, ShardEntry, read_manifest
from .marks import CleaningMarks, State, open_cleaning, open_metric, open_state
from .shards import Shard, open_shard
from .values import REASONS, ClassStats, Label, Metric, Record, Rows, Source

Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
# A writer may replace the files between reading the manifest and opening them.
_TRIES = 5


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """Where an image's rows lie: from `start` of the set, from `local` of shard `number`."""

    shard: Shard
    number: int
    source: Source
    start: int
    local: int
    count: int


class Snapshot:
    """A generation of a set. Rows are numbered over the images still in it, shard by shard."""

    def __init__(
        self, folder: Path, manifest: Manifest, known: Mapping[int, Shard] = MappingProxyType({})
    ) -> None:
        self.folder = folder
        self.manifest = manifest
        self.shards = tuple(_shard(folder, e, manifest.width, known) for e in manifest.shards)
        self.state: State = open_state(folder, manifest.state)
        self.metric: Metric | None = open_metric(folder, manifest.metric, manifest.width)
        self.marks: CleaningMarks | None = (
            open_cleaning(folder, manifest.cleaning) if manifest.cleaning else None
        )
        self.places: dict[str, Place] = {}
        self._order: list[Place] = []
        self._cached: dict[tuple[bool, bool, bool], Any] = {}
        row = 0
        for number, shard in enumerate(self.shards):
            for run in shard.live:
                place = Place(shard, number, run.source, row, run.start, run.count)
                if run.source.hash in self.places:
                    raise damaged(folder / MANIFEST, "holds an image twice")
                self.places[run.source.hash] = place
                self._order.append(place)
                row += run.count
        self.n_segments = row

    @contextlib.contextmanager
    def _still_there(self) -> Iterator[None]:
        """A file that is gone because another process has written newer ones is no damage."""
        try:
            yield
        except ReferenceSetError as error:
            if read_manifest(self.folder) == self.manifest:
                raise
            raise ReferenceSetError(
                self.folder,
                f"The reference set {self.folder.name} was changed elsewhere: open it again.",
            ) from error

    @cached_property
    def _starts(self) -> Ints:
        return np.asarray([p.start for p in self._order], np.int64)

    def sources(self) -> tuple[Source, ...]:
        return tuple(place.source for place in self._order)

    def image_rows(self, content_hash: str) -> Ints:
        place = self.places.get(content_hash)
        return np.arange(place.start, place.start + place.count) if place else np.arange(0)

    def _stretches(self) -> Iterator[tuple[Place, int]]:
        """The first image and the number of rows of every stretch that lies together on disk."""
        first: Place | None = None
        count = 0
        for place in self._order:
            if first and place.shard is first.shard and place.local == first.local + count:
                count += place.count
                continue
            if first and count:
                yield first, count
            first, count = place, place.count
        if first and count:
            yield first, count

    def blocks(self) -> Iterator[tuple[int, npt.NDArray[np.float16]]]:
        """(first row, rows) of every stretch that lies together on the disk."""
        for first, count in self._stretches():
            yield first.start, first.shard.block(first.local, first.local + count)

    def rows(self, indices: npt.ArrayLike) -> Rows:
        """(n, d) float32 of any rows, in the order asked."""
        wanted = self._checked(indices)
        out = np.empty((len(wanted), self.manifest.width), np.float32)
        owner = self._owners(wanted)
        for number in np.unique(owner):
            place, mine = self._order[number], owner == number
            found = place.shard.embeddings[wanted[mine] - place.start + place.local]
            place.shard.check_finite(found)
            out[mine] = found
        return out

    def _checked(self, indices: npt.ArrayLike) -> Ints:
        wanted = np.atleast_1d(np.asarray(indices, np.int64))
        if len(wanted) and not 0 <= wanted.min() <= wanted.max() < self.n_segments:
            raise ReferenceSetError(
                self.folder,
                f"The reference set {self.folder.name} has rows 0 to {self.n_segments - 1}: "
                "it was changed meanwhile; open it again.",
            )
        return wanted

    def _owners(self, rows: Ints) -> Ints:
        """Number of the image of each row; images without rows own none."""
        return np.searchsorted(self._starts, rows, side="right") - 1

    # ---- labels and links ----

    @cached_property
    def _columns(self) -> tuple[list[tuple[str, str]], list[Ints], Ints]:
        """(phrase, root) of all columns, each shard's columns among them, and segments of each."""
        told: list[tuple[str, str]] = []
        numbers: dict[str, int] = {}
        mapped, counts = [], []
        for shard in self.shards:
            here = np.bincount(_live_columns(shard), minlength=shard.entry.labels)
            mine = np.full(shard.entry.labels, -1, np.int64)
            used = np.flatnonzero(here).tolist()
            with self._still_there():
                phrases = shard.labels if used else []
            for i in used:
                mine[i] = _number(phrases[i], numbers, told)
            mapped.append(mine)
            counts.append(here)
        if self.marks is not None:
            for column in np.unique(self.marks.added[:, 2]).tolist():
                _number(self.marks.head.phrases[column], numbers, told)
        total = np.zeros(len(told), np.int64)
        for mine, here in zip(mapped, counts, strict=True):
            np.add.at(total, mine[mine >= 0], here[mine >= 0])
        return told, mapped, total

    @property
    def n_labels(self) -> int:
        return len(self._columns[0])

    @cached_property
    def labels(self) -> tuple[Label, ...]:
        synonyms = {key(word): told for word, told in self.state.synonyms.items()}
        told, _, counts = self._columns
        return tuple(
            Label(i, phrase, root, synonyms.get(key(phrase), ()), int(counts[i]))
            for i, (phrase, root) in enumerate(told)
        )

    @cached_property
    def raw(self) -> Ints:
        """Pairs before cleaning as row * n_labels + label, (pairs,) int64, ascending."""
        _, mapped, _ = self._columns
        parts = []
        for first, count in self._stretches():
            ends = first.shard.pointers[first.local : first.local + count + 1]
            rows = first.start + np.repeat(np.arange(count), np.diff(ends))
            columns = mapped[first.number][first.shard.columns[ends[0] : ends[-1]]]
            parts.append(rows * self.n_labels + columns)
        return _ascending(np.concatenate(parts)) if parts else np.empty(0, np.int64)

    def _marked(self, table: npt.NDArray[np.int32], of: CleaningMarks) -> tuple[Ints, Flags]:
        """Pairs that a cleaning's table names, and which of its rows are still in the set."""
        starts = np.asarray(
            [self.places[h].start if h in self.places else -1 for h in of.head.images], np.int64
        )
        counts = np.asarray(
            [self.places[h].count if h in self.places else 0 for h in of.head.images], np.int64
        )
        numbers = {key(phrase): i for i, (phrase, _) in enumerate(self._columns[0])}
        columns = np.asarray([numbers.get(key(p), -1) for p, _ in of.head.phrases], np.int64)
        image, place, phrase = (table[:, i].astype(np.int64) for i in range(3))
        here = (place < counts[image]) & (columns[phrase] >= 0) if len(table) else image > 0
        rows = starts[image[here]] + place[here]
        return rows * self.n_labels + columns[phrase[here]], here

    @cached_property
    def dropped(self) -> tuple[Ints, npt.NDArray[np.int32]]:
        """Pairs that cleaning takes away, and the number of the reason of each."""
        if self.marks is None:
            return np.empty(0, np.int64), np.empty(0, np.int32)
        pairs, here = self._marked(self.marks.dropped, self.marks)
        return pairs, self.marks.dropped[here, 3]

    @cached_property
    def added(self) -> Ints:
        """Pairs that enrichment gave."""
        if self.marks is None:
            return np.empty(0, np.int64)
        return self._marked(self.marks.added, self.marks)[0]

    @cached_property
    def enabled(self) -> Flags:
        """(n_segments,) bool, False for rows that were switched off."""
        on = np.ones(self.n_segments, bool)
        for content_hash, places in self.state.off.items():
            if place := self.places.get(content_hash):
                on[[place.start + i for i in places if i < place.count]] = False
        return on

    def pairs(self, *, abstract: bool = True, outliers: bool = True, synonyms: bool = True) -> Ints:
        """Pairs after the cleaning steps that count, ascending."""
        which = (abstract, outliers, synonyms)
        if which not in self._cached:
            pairs, reasons = self.dropped
            counts = np.asarray([abstract, outliers])[reasons]
            kept = self.raw[~np.isin(self.raw, pairs[counts])] if counts.any() else self.raw
            if synonyms and len(self.added):
                kept = _ascending(np.concatenate([kept, self.added]))
            self._cached[which] = kept
        found: Ints = self._cached[which]
        return found

    def links(
        self, *, abstract: bool, outliers: bool, synonyms: bool, without: Container[str]
    ) -> "sparse.csr_array":
        pairs = self.pairs(abstract=abstract, outliers=outliers, synonyms=synonyms)
        on = self.enabled.copy()
        for place in self._order:
            if place.source.hash in without:
                on[place.start : place.start + place.count] = False
        width = max(self.n_labels, 1)
        rows = pairs // width
        kept = on[rows]
        columns = (pairs[kept] % width).astype(np.int32)
        pointers = np.zeros(self.n_segments + 1, np.int64)
        np.cumsum(np.bincount(rows[kept], minlength=self.n_segments), out=pointers[1:])
        return sparse.csr_array(
            (np.ones(len(columns), np.float32), columns, pointers),
            shape=(self.n_segments, self.n_labels),
        )

    # ---- what is told of segments ----

    def records(self, rows: npt.ArrayLike) -> tuple[Record, ...]:
        wanted = self._checked(rows)
        owner = self._owners(wanted)
        kept, (gone, reasons) = self.pairs(), self.dropped
        order = np.argsort(gone, kind="stable")
        found: dict[int, Record] = {}
        for number in np.unique(owner):
            place = self._order[number]
            mine = wanted[owner == number].tolist()
            with self._still_there():
                told = place.shard.segments([r - place.start + place.local for r in mine])
            for row in mine:
                segment = told[row - place.start + place.local]
                dropped = tuple(
                    (self.labels[pair % self.n_labels].phrase, REASONS[reason])
                    for pair, reason in _between(gone[order], reasons[order], row, self.n_labels)
                )
                words = tuple(
                    self.labels[pair % self.n_labels].phrase
                    for pair, _ in _between(kept, kept, row, self.n_labels)
                )
                found[row] = Record(
                    row, segment, place.source, words, dropped, bool(self.enabled[row])
                )
        return tuple(found[row] for row in wanted.tolist())

    def thumbnails(self, rows: npt.ArrayLike) -> tuple[bytes, ...]:
        wanted = self._checked(rows)
        owner = self._owners(wanted)
        found: dict[int, bytes] = {}
        for number in np.unique(owner):
            place = self._order[number]
            mine = wanted[owner == number].tolist()
            local = [row - place.start + place.local for row in mine]
            with self._still_there():
                shown = catalogue.thumbnails(place.shard.catalogue, local)
            if len(shown) != len(set(local)):
                raise damaged(place.shard.catalogue, "lacks thumbnails")
            found |= {row: shown[at] for row, at in zip(mine, local, strict=True)}
        return tuple(found[row] for row in wanted.tolist())

    def rows_of(self, word: str) -> Ints:
        wanted = [label.id for label in self.labels if key(label.root) == key(word)]
        return _ascending(
            self.raw[np.isin(self.raw % max(self.n_labels, 1), wanted)] // max(self.n_labels, 1)
        )

    def named(self, rows: npt.ArrayLike) -> Iterator[tuple[str, int]]:
        """(hash, place in the image) of rows: what stays the same in every generation."""
        for number, place in zip(*(a.tolist() for a in self.addresses(rows)), strict=True):
            yield self._order[number].source.hash, place

    def addresses(self, rows: npt.ArrayLike) -> tuple[Ints, Ints]:
        wanted = self._checked(rows)
        owner = self._owners(wanted)
        return owner, wanted - self._starts[owner]

    def raw_pairs(self) -> tuple[Ints, Ints]:
        width = max(self.n_labels, 1)
        rows, labels = self.raw // width, self.raw % width
        on = self.enabled[rows]
        return rows[on], labels[on]

    def class_stats(self) -> tuple[ClassStats, ...]:
        width = max(self.n_labels, 1)
        roots = {key(label.root): label.root for label in reversed(self.labels)}
        roots = {name: roots[name] for name in dict.fromkeys(key(e.root) for e in self.labels)}
        numbers = {name: i for i, name in enumerate(roots)}
        of = np.asarray([numbers[key(label.root)] for label in self.labels], np.int64)
        size = len(roots)
        rows, groups = self.raw // width, of[self.raw % width] if size else self.raw
        members = _ascending(rows * max(size, 1) + groups)
        rows, groups = members // max(size, 1), members % max(size, 1)
        images = _ascending(self._owners(rows) * max(size, 1) + groups) % max(size, 1)
        segments = np.bincount(groups, minlength=size)
        off = np.bincount(groups[~self.enabled[rows]], minlength=size)
        n_images = np.bincount(images, minlength=size)
        gone, _ = self.dropped
        lost = np.bincount(of[gone % width], minlength=size) if size else off
        words = self._other_words()
        return tuple(
            ClassStats(
                root, int(segments[i]), int(n_images[i]), int(off[i]), int(lost[i]),
                tuple(words.get(name, ())),
            )
            for i, (name, root) in enumerate(roots.items())
        )  # fmt: skip

    def _other_words(self) -> dict[str, list[str]]:
        """Other words for each root, by its key."""
        found: dict[str, list[str]] = {}
        for label in self.labels:
            found.setdefault(key(label.root), []).extend(label.synonyms)
        for a, b in self.marks.head.cleaned.synonyms if self.marks else ():
            found.setdefault(key(a), []).append(b)
            found.setdefault(key(b), []).append(a)
        return {root: list(dict.fromkeys(words)) for root, words in found.items()}


def open_snapshot(folder: Path, known: Snapshot | None = None) -> Snapshot:
    """The newest generation; raises ReferenceSetError. Shards that `known` opened stay open.

    A file that went because another process wrote a newer one meanwhile is no damage.
    """
    shards = {s.entry.serial: s for s in known.shards} if known else {}
    for _ in range(_TRIES - 1):
        manifest = read_manifest(folder)
        try:
            return Snapshot(folder, manifest, shards)
        except ReferenceSetError:
            if read_manifest(folder) == manifest:
                raise
    return Snapshot(folder, read_manifest(folder), shards)


def _shard(folder: Path, entry: ShardEntry, width: int, known: Mapping[int, Shard]) -> Shard:
    opened = known.get(entry.serial)
    if opened is not None and opened.entry.digest == entry.digest:
        return opened.seen_by(entry)
    return open_shard(folder, entry, width)


def _number(told: tuple[str, str], numbers: dict[str, int], columns: list[tuple[str, str]]) -> int:
    """Column of a phrase: the same for all spellings that mean one word."""
    found = numbers.get(told[0])
    if found is None:
        found = numbers.setdefault(key(told[0]), len(columns))
        if found == len(columns):
            columns.append(told)
        numbers[told[0]] = found
    return found


def _ascending(pairs: Ints) -> Ints:
    """Each pair once; np.unique hashes, which takes ten times as long on ordered pairs."""
    ordered = np.sort(pairs, kind="stable")
    return ordered[np.diff(ordered, prepend=-1) > 0]


def _live_columns(shard: Shard) -> npt.NDArray[Any]:
    if not shard.entry.removed:
        return shard.columns
    parts: Iterable[npt.NDArray[Any]] = (
        shard.columns[shard.pointers[r.start] : shard.pointers[r.start + r.count]]
        for r in shard.live
    )
    return np.concatenate([np.empty(0, np.int32), *parts])


def _between(
    pairs: Ints, told: Sequence[int] | npt.NDArray[Any], row: int, n_labels: int
) -> Iterator[tuple[int, int]]:
    """(pair, what is told of it) of one row, from ascending pairs."""
    first, last = np.searchsorted(pairs, [row * n_labels, (row + 1) * n_labels])
    for i in range(first, last):
        yield int(pairs[i]), int(told[i])

"""A change in the making: the files it will write and the manifest that will name them."""

import contextlib
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from ..formats.atomic import Fill, write_together
from ..values.vocabulary import key
from .manifest import CountEntry, Manifest
from .marks import CleaningMarks, State, moved_marks, pack_cleaning, pack_metric, pack_state
from .shards import MAX_ROWS, Shard, chunks, pack
from .snapshot import Snapshot
from .values import Addition, Metric, Segment, Source

# Shards of at most SMALL[i] rows are joined when this many of them stand at the end.
SMALL = (256, 2048, 16_384)
TOGETHER = 8


class Draft:
    """What a commit will change. Large shards are written as they come, under numbers that no
    manifest names yet; the rest by `write`."""

    def __init__(self, now: Snapshot) -> None:
        self._now = now
        self._folder = now.folder
        self._files: dict[Path, Fill] = {}
        self._serial = now.manifest.serial
        self._sources: dict[str, Source] = {s.hash: s for s in now.sources()}
        self._rows = {h: p.count for h, p in now.places.items()}
        self._state = now.state
        self._marks = now.marks
        self.manifest: Manifest = now.manifest

    @property
    def changed(self) -> bool:
        return self.manifest != self._now.manifest

    def write(self) -> None:
        """Write the files that wait."""
        write_together(self._files, overwrite=True)

    def _write_now(self) -> None:
        """Write a shard as it comes, so that memory does not grow with how many there are."""
        self.write()
        self._files.clear()

    def add(self, additions: Iterable[Addition]) -> None:
        """New shards for images, which replace those of the same hash; small ones are joined.

        Switches and cleaning stay with segments of a replaced image that came back as they were.
        """
        given = {a.source.hash: a for a in additions}
        self._take_out(given.keys(), self._moves(given))
        pending = list(chunks(given.values()))
        for number, chunk in enumerate(pending):
            if number == len(pending) - 1:
                chunk = [*self._joined(chunk), *chunk]
            for part in chunks(chunk):
                self._append(part)
        self._note(given.values())

    def merge(self, other: Snapshot) -> None:
        """The images of another set that ours lacks or that were reviewed later there."""
        taken = {
            h
            for h, place in other.places.items()
            if h not in self._sources or place.source.reviewed > self._sources[h].reviewed
        }
        self.remove(taken)
        for shard in other.shards:
            wanted = (a for a in shard.additions() if a.source.hash in taken)
            for part in chunks(wanted):
                self._append(part)
                self._note(part)
                self._write_now()
        state = self._state
        off = dict(state.off) | {h: v for h, v in other.state.off.items() if h in taken}
        self._put_state(replace(state, off=off))
        self.declare(other.state.synonyms)

    def remove(self, hashes: Iterable[str]) -> None:
        """Take images out: shards that become half empty are written anew."""
        self._take_out(hashes, {})

    def _take_out(self, hashes: Iterable[str], moves: Mapping[str, Mapping[int, int]]) -> None:
        gone = {h for h in hashes if h in self._sources}
        if not gone:
            return
        for h in gone:
            del self._sources[h], self._rows[h]
        left = [_without(shard, gone) for shard in self._now.shards]
        sparse = [s for s in left if 0 < 2 * sum(r.count for r in s.live) < s.entry.rows]
        kept = tuple(s.entry for s in left if s.live and s not in sparse)
        self.manifest = replace(self.manifest, shards=kept)
        for part in chunks(a for shard in sparse for a in shard.additions()):
            self._append(part)
            self._write_now()
        off = {
            h: tuple(sorted(moves.get(h, {})[p] for p in places if p in moves.get(h, {})))
            if h in gone
            else places
            for h, places in self._state.off.items()
        }
        self._put_state(replace(self._state, off={h: v for h, v in off.items() if v}))
        if self._marks is not None and not gone.isdisjoint(self._marks.head.images):
            self.put_cleaning(moved_marks(self._marks, gone, moves))
        self._count()

    def switch(self, named: Sequence[tuple[str, int]], on: bool) -> None:
        """Switch segments, named by image and place, on or off."""
        off = {h: set(places) for h, places in self._state.off.items()}
        for content_hash, place in named:
            places = off.setdefault(content_hash, set())
            if on:
                places.discard(place)
            elif content_hash in self._sources:
                places.add(place)
        told = {h: tuple(sorted(places)) for h, places in sorted(off.items()) if places}
        self._put_state(replace(self._state, off=told))

    def declare(self, synonyms: Mapping[str, Sequence[str]]) -> None:
        """Add synonyms to those declared; words that differ in case only are one."""
        told = dict(self._state.synonyms)
        names = {key(word): word for word in told}
        for word, others in synonyms.items():
            word = names.get(key(word), word)
            found = {key(w): w for w in told.get(word, ())}
            for other in others:
                found.setdefault(key(other), other)
            found.pop(key(word), None)
            if found:
                told[word] = tuple(found.values())
        self._put_state(replace(self._state, synonyms=told))

    def put_cleaning(self, marks: CleaningMarks | None) -> None:
        """A cleaning's results, in place of the last."""
        entry = None
        self._marks = marks
        if marks is not None:
            entry, files = pack_cleaning(self._folder, self._next(), marks)
            self._files |= files
        self.manifest = replace(self.manifest, cleaning=entry)

    def put_metric(self, metric: Metric | None) -> None:
        """The whitening, in place of the last."""
        entry = None
        if metric is not None:
            entry, files = pack_metric(self._folder, self._next(), metric)
            self._files |= files
        self.manifest = replace(self.manifest, metric=entry)

    # ---- parts ----

    def _moves(self, given: Mapping[str, Addition]) -> dict[str, dict[int, int]]:
        """Of every image that is replaced: the old places of its segments that stay -> the new."""
        told = set(self._state.off) | set(self._marks.head.images if self._marks else ())
        moves = {}
        for content_hash in given.keys() & self._now.places.keys() & told:
            place = self._now.places[content_hash]
            old = place.shard.segments(range(place.local, place.local + place.count))
            new = {_same(s): i for i, s in enumerate(given[content_hash].segments)}
            moves[content_hash] = {
                row - place.local: new[_same(segment)]
                for row, segment in old.items()
                if _same(segment) in new
            }
        return moves

    def _put_state(self, state: State) -> None:
        if state == self._state:
            return
        self._state = state
        entry, files = pack_state(self._folder, self._next(), state)
        self._files |= files
        self.manifest = replace(self.manifest, state=entry)

    def _next(self) -> int:
        self._serial += 1
        self.manifest = replace(self.manifest, serial=self._serial)
        return self._serial

    def _append(self, additions: Sequence[Addition]) -> None:
        entry, files = pack(self._folder, self._next(), additions)
        self._files |= files
        self.manifest = replace(self.manifest, shards=(*self.manifest.shards, entry))

    def _joined(self, chunk: Sequence[Addition]) -> list[Addition]:
        """The images of small shards at the end, which are taken off to be joined with a new one.

        The live rows of joined shards fit into one shard, so that adding an image never writes
        much more than one.
        """
        open_shards = {s.entry.serial: s for s in self._now.shards}
        old = [e for e in self.manifest.shards if e.serial in open_shards]
        new = sum(len(a.segments) for a in chunk)
        count = _to_join([e.rows for e in old], new)
        joined = old[len(old) - count :]
        kept = tuple(e for e in self.manifest.shards if e not in joined)
        self.manifest = replace(self.manifest, shards=kept)
        return [a for e in joined for a in open_shards[e.serial].seen_by(e).additions()]

    def _note(self, additions: Iterable[Addition]) -> None:
        for addition in additions:
            self._sources[addition.source.hash] = addition.source
            self._rows[addition.source.hash] = len(addition.segments)
        self._count()

    def _count(self) -> None:
        licences = Counter(s.licence for s in self._sources.values())
        counts = CountEntry(
            sum(self._rows.values()), len(self._sources), dict(sorted(licences.items()))
        )
        self.manifest = replace(self.manifest, counts=counts)


def _same(segment: Segment) -> object:
    """What tells a segment from the others of its image."""
    return segment.box, segment.area, frozenset(key(word) for word in segment.words)


def _without(shard: Shard, gone: set[str]) -> Shard:
    """The shard with these images removed."""
    removed = {i for i, run in enumerate(shard.runs) if run.source.hash in gone}
    if not removed:
        return shard
    removed |= set(shard.entry.removed)
    return shard.seen_by(replace(shard.entry, removed=tuple(sorted(removed))))


def _to_join(rows: Sequence[int], new: int) -> int:
    """How many shards at the end are written anew together with `new` rows."""
    for limit in SMALL:
        count, total = 0, new
        while count < len(rows) and rows[-1 - count] <= limit:
            if total + rows[-1 - count] > MAX_ROWS:
                break
            total += rows[-1 - count]
            count += 1
        if count >= TOGETHER - 1:
            return count
    return 0


def flush(folder: Path) -> None:
    """Make renamed files of a folder last through a power cut, where the system can."""
    if os.name == "posix":
        with contextlib.suppress(OSError):
            handle = os.open(folder, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)

"""Pixels of every id of an array, kept right by the boxes that change; never a whole-stack pass."""

from typing import Any

import numpy as np
import numpy.typing as npt

from ..values.labels import Ids, changes

IDS = 65536
_CHUNK = 1 << 17
_TABLE = 1 << 18
# Pixels that a run must have in the mean to be worth looking for.
_LONG = 8


class Tally:
    """`counts[i]` is how many pixels hold id i; all of them hold 0 at first."""

    def __init__(self, pixels: int) -> None:
        self.counts: npt.NDArray[np.int64] = np.zeros(IDS, np.int64)
        self.counts[0] = pixels

    @property
    def present(self) -> set[int]:
        """Ids that at least one pixel holds."""
        return {int(i) for i in np.flatnonzero(self.counts)}

    def exchange(self, before: Ids, after: Ids) -> dict[tuple[int, int], int]:
        """A box went from `before` to `after`; returns what differs, `(old, new) -> pixels`."""
        pairs = pairs_of(before, after)
        for (old, new), pixels in pairs.items():
            self.counts[old] -= pixels
            self.counts[new] += pixels
        return pairs

    def add(self, ids: Ids, sign: int = 1) -> None:
        """Count pixels in, or out with sign -1."""
        if ids.size:
            self.counts += sign * histogram(ids)

    def rename(self, table: Ids) -> None:
        """Every id i became table[i]."""
        renamed = np.zeros(IDS, np.int64)
        np.add.at(renamed, table, self.counts)
        self.counts = renamed

    def without(self, ids: Ids) -> set[int]:
        """Ids still present were these pixels gone."""
        return {int(i) for i in np.flatnonzero(self.counts - histogram(ids))}


def histogram(ids: Ids) -> npt.NDArray[np.int64]:
    """Pixels of each id, (65536,); in chunks, which NumPy widens without leaving the cache."""
    flat, size = ids.reshape(-1), int(ids.max(initial=0)) + 1
    found = np.zeros(IDS, np.int64)
    for at in range(0, flat.size, _CHUNK):
        chunk = flat[at : at + _CHUNK]
        starts = _starts(chunk)
        if starts is None:
            found[:size] += np.bincount(chunk, minlength=size)
        else:
            found[:size] += _counted(chunk[starts], starts, len(chunk), size)
    return found


def _starts(*chunks: Ids) -> npt.NDArray[np.intp] | None:
    """Where runs of equal values begin in several arrays together; None where they are short."""
    differ = chunks[0][1:] != chunks[0][:-1]
    for other in chunks[1:]:
        differ |= other[1:] != other[:-1]
    if np.count_nonzero(differ) * _LONG > len(differ):
        return None
    return np.concatenate([[0], np.flatnonzero(differ) + 1])


def _counted(
    values: npt.NDArray[Any], starts: npt.NDArray[np.intp], end: int, size: int
) -> npt.NDArray[np.int64]:
    """`np.bincount` of runs; `starts` are theirs, `end` is where the last one ends."""
    return np.bincount(values, np.diff(starts, append=end), size).astype(np.int64)


def pairs_of(before: Ids, after: Ids) -> dict[tuple[int, int], int]:
    """`(old id, new id) -> pixels` of two arrays of one shape, where they differ, largest first.

    Chunks that stay in the processor's cache, and runs of equal pairs as one: many times as fast
    as sorting the changed pixels.
    """
    size = int(max(before.max(initial=0), after.max(initial=0))) + 1
    if size * size > _TABLE:
        flat = before.reshape(-1, before.shape[-1]), after.reshape(-1, after.shape[-1])
        return changes(*flat)
    old, new = before.reshape(-1), after.reshape(-1)
    joint = np.zeros(size * size, np.int64)
    for at in range(0, old.size, _CHUNK):
        a, b = old[at : at + _CHUNK], new[at : at + _CHUNK]
        starts = _starts(a, b)
        if starts is not None:
            codes = a[starts].astype(np.intp) * size + b[starts]
            joint += _counted(codes, starts, len(a), size * size)
            continue
        wide = a.astype(np.uint32)
        wide *= np.uint32(size)
        wide += b
        joint += np.bincount(wide, minlength=size * size)
    table = joint.reshape(size, size)
    np.fill_diagonal(table, 0)
    pairs = [(int(table[a, b]), int(a), int(b)) for a, b in np.argwhere(table)]
    return {(a, b): n for n, a, b in sorted(pairs, key=lambda p: -p[0])}

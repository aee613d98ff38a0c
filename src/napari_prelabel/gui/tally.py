"""Pixels of every id of an array, kept right by the boxes that change; never a whole-stack pass."""

import numpy as np
import numpy.typing as npt

from ..labels import Ids, changes

IDS = 65536
_CHUNK = 1 << 17
_TABLE = 1 << 18


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
        found[:size] += np.bincount(flat[at : at + _CHUNK], minlength=size)
    return found


def pairs_of(before: Ids, after: Ids) -> dict[tuple[int, int], int]:
    """`(old id, new id) -> pixels` of two arrays of one shape, where they differ, largest first.

    Chunks that stay in the processor's cache: six times as fast as sorting the changed pixels.
    """
    size = int(max(before.max(initial=0), after.max(initial=0))) + 1
    if size * size > _TABLE:
        flat = before.reshape(-1, before.shape[-1]), after.reshape(-1, after.shape[-1])
        return changes(*flat)
    old, new = before.reshape(-1), after.reshape(-1)
    joint = np.zeros(size * size, np.int64)
    for at in range(0, old.size, _CHUNK):
        codes = old[at : at + _CHUNK].astype(np.uint32)
        codes *= np.uint32(size)
        codes += new[at : at + _CHUNK]
        joint += np.bincount(codes, minlength=size * size)
    table = joint.reshape(size, size)
    np.fill_diagonal(table, 0)
    pairs = [(int(table[a, b]), int(a), int(b)) for a, b in np.argwhere(table)]
    return {(a, b): n for n, a, b in sorted(pairs, key=lambda p: -p[0])}

"""Segments that look unlike the others of their word: quality control of one's own corrections."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .clean import roots_of, split
from .metric import compared
from .store import ReferenceSet
from .values import Rows

# Distances are judged from at least this many segments of a word.
FEWEST = 8
# A word with more is judged from this many, spread evenly over them.
MOST = 20_000
# Of a normal distribution, the standard deviation over the median absolute deviation.
_NORMAL = 1.4826


@dataclass(frozen=True, slots=True)
class Odd:
    """A segment far from the middle of its word; score : robust deviations beyond the median."""

    row: int
    word: str
    score: float


def odd_ones(held: ReferenceSet, count: int = 20, least: float = 3.5) -> tuple[Odd, ...]:
    """The oddest segments of a set, the oddest first; those switched off have no say.

    Distance is 1 - cosine to the word's median vector, after the set's metric; a segment is odd
    when it lies `least` robust deviations (median absolute deviation) beyond the word's median.
    """
    labels = held.labels()
    roots, of = roots_of(labels)
    pairs, columns = held.raw_pairs()
    found: list[Odd] = []
    for root, members in zip(roots, split(of[columns], len(roots)), strict=True):
        rows = np.unique(pairs[members])
        rows = rows[:: max(1, -(-len(rows) // MOST))]
        if len(rows) < FEWEST:
            continue
        scores = deviations(compared(held.rows(rows), held.metric))
        order = np.argsort(-scores, kind="stable")[: 4 * count]
        odd = [i for i in order if scores[i] >= least]
        found += [
            Odd(record.row, root, float(scores[i]))
            for i, record in zip(odd, held.records(rows[odd]) if odd else (), strict=True)
            if record.segment.origin == "correction"
        ]
    return tuple(sorted(found, key=lambda odd: -odd.score)[:count])


def deviations(rows: Rows) -> npt.NDArray[np.float64]:
    """How far each row lies from the middle, in robust deviations beyond the median distance.

    rows : (n, d) float32 unit rows. Returns (n,) float64; 0 for all when none deviates.
    """
    centre = np.median(rows, axis=0)
    length = float(np.linalg.norm(centre))
    distance = 1.0 - (rows @ (centre / max(length, 1e-12))).astype(np.float64)
    beyond = distance - np.median(distance)
    spread = _NORMAL * float(np.median(np.abs(beyond)))
    return beyond / spread if spread > 1e-9 else np.zeros_like(beyond)

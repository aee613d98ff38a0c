"""ReME's pairs of segments and phrases: made, and cleaned of what is wrong.

docs/methods/reme.md#pairing

NumPy only. Every function is deterministic: where two values are equal, the earlier row comes
first.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ..values.errors import JobError

Rows = npt.NDArray[np.floating[Any]]
Mask = npt.NDArray[np.bool_]
Reading = Literal["global", "neighbours", "share"]

MOST_RATE = 0.5
"""The largest share that the adaptive filter takes from a group (variant d)."""
MOST_ROOTS = 4000
"""Roots beyond which the "share" reading of synonyms would give millions of pairs."""
SIMILARITY = 0.9
"""Least cosine of mutual neighbours that count as synonyms (docs/methods/reme.md#r5)."""
_EPS = 1e-9
_COLUMNS = 64
_ROWS_AT_ONCE = 1024


def pair(segment_rows: Rows, phrase_rows: Rows) -> npt.NDArray[np.intp]:
    """The segment of each phrase: i* = argmax_i cos(segment_i, phrase_j) (3.2, step 4).

    Parameters
    ----------
    segment_rows : (m, e) float unit rows of an image's segments, m at least 1
    phrase_rows : (n, e) float unit rows of its caption's phrases

    Returns
    -------
    (n,) intp; a segment may have several phrases, or none

    Raises
    ------
    JobError
        Without a segment.
    """
    if not len(segment_rows):
        raise JobError("segments", "Phrases need at least one segment: change the proposals.")
    owner: npt.NDArray[np.intp] = np.argmax(_float32(phrase_rows) @ _float32(segment_rows).T, 1)
    return owner


def knee(sizes: npt.ArrayLike) -> int:
    """How many of the largest groups lie beyond the bend of the sorted curve of sizes (3.3).

    Kneedle: sizes descending, both axes scaled to [0, 1]; the bend is the point below the chord
    that is farthest from it. Groups before it are the abnormally frequent ones.

    Parameters
    ----------
    sizes : (g,) of any real type, in any order

    Returns
    -------
    0 .. g - 1; 0 where there is no bend: fewer than three groups, equal sizes, or a curve that
    nowhere lies below its chord. Groups of equal size are never parted.
    """
    curve = np.sort(np.asarray(sizes, np.float64))[::-1]
    if len(curve) < 3 or curve[0] == curve[-1]:
        return 0
    along = np.linspace(0, 1, len(curve))
    down = (curve - curve[-1]) / (curve[0] - curve[-1])
    below = 1 - along - down
    bend = int(np.argmax(below))
    return bend if below[bend] > _EPS else 0


def abstract_roots(sizes: Mapping[str, int], keep: Iterable[str] = ()) -> tuple[str, ...]:
    """Roots whose groups lie beyond the bend, the largest first, without those to `keep`.

    sizes : how many segments the group of each root has.
    """
    ranked = sorted(sizes, key=lambda root: (-sizes[root], root))
    kept = set(keep)
    return tuple(root for root in ranked[: knee(list(sizes.values()))] if root not in kept)


def centre(rows: Rows) -> npt.NDArray[np.float32]:
    """Element-wise median of a group's rows (n, d), made a unit row (d,) float32.

    docs/methods/reme.md#r9
    """
    middle = np.concatenate(
        [
            np.median(_float32(rows[:, start : start + _COLUMNS]), axis=0)
            for start in range(0, rows.shape[1], _COLUMNS)
        ]
    )
    return (middle / max(float(np.linalg.norm(middle)), _EPS)).astype(np.float32)


def lowest(scores: npt.ArrayLike, drop: float) -> Mask:
    """True for the floor(drop · n) lowest of n scores; of equal ones the first go.

    docs/methods/reme.md#r8

    Of a root's group, scores are cos(x_i, centre), and those that are True lose the phrase.

    Raises JobError for a share outside [0, 1].
    """
    if not 0 <= drop <= 1:
        raise JobError("drop", f"The share to drop must lie between 0 and 1, not {drop}.")
    values = np.asarray(scores)
    gone = np.zeros(len(values), bool)
    gone[np.argsort(values, kind="stable")[: int(drop * len(values) + _EPS)]] = True
    return gone


def spread(cosines: npt.ArrayLike) -> float:
    """w = mean of 1 - cos(x_i, centre), from a group's cosines (n,), n at least 1 (variant d)."""
    return float(np.mean(1 - np.asarray(cosines, np.float64)))


def adaptive_rates(spreads: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Shares to drop from w of every group: 0.5 (w - w_min) / (w_max - w_min) (variant d).

    The paper does not give the mapping; this one is ours. Returns (g,) float64 in [0, 0.5], zeros
    where all groups spread alike.
    """
    w = np.asarray(spreads, np.float64)
    if not len(w) or w.max() - w.min() < _EPS:
        return np.zeros(len(w))
    rates: npt.NDArray[np.float64] = MOST_RATE * (w - w.min()) / (w.max() - w.min())
    return rates


def synonyms(
    root_rows: Rows, k: int = 30, reading: Reading = "neighbours", similarity: float = SIMILARITY
) -> npt.NDArray[np.int64]:
    """Pairs of root nouns that mean the same, by their text vectors.

    docs/methods/reme.md#synonyms

    Parameters
    ----------
    root_rows : (r, e) float unit rows
    k : pairs in all ("global"), neighbours of each root ("neighbours"), or percent of all pairs
        ("share")
    reading : of the paper's ambiguous k_sim = 30. "neighbours" takes only mutual neighbours
        whose cosine is at least `similarity`; the other two take no bound
    similarity : least cosine of "neighbours"

    Returns
    -------
    (p, 2) int64, first below second, in lexicographic order

    Raises
    ------
    JobError
        An unknown reading, k below 0, or "share" of more than `MOST_ROOTS` roots.
    """
    if reading not in _READINGS:
        raise JobError("synonyms", f"{reading!r} is no reading: choose {', '.join(_READINGS)}.")
    if k < 0:
        raise JobError("k", f"The number of synonyms must be 0 or more, not {k}.")
    rows = _float32(root_rows)
    if len(rows) < 2 or not k:
        return np.zeros((0, 2), np.int64)
    pairs = _READINGS[reading](rows, k, similarity)
    return pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]


def renamed(phrase: str, root: str, other: str) -> str | None:
    """ "<modifiers> A" as "<modifiers> B" (3.5); None where the phrase does not end in its root."""
    modifiers = phrase.removesuffix(root)
    if modifiers == phrase or (modifiers and not modifiers.endswith(" ")):
        return None
    return modifiers + other


def _global(rows: npt.NDArray[np.float32], k: int, _: float) -> npt.NDArray[np.int64]:
    """The k most similar pairs of all."""
    best = np.zeros((0, 3))
    for start, block in _upper(rows):
        at = np.argsort(-block, axis=None, kind="stable")[:k]
        first, second = np.unravel_index(at, block.shape)
        values = block[first, second]
        new = np.column_stack([-values, first + start, second])[np.isfinite(values)]
        best = np.concatenate([best, new])
        best = best[np.lexsort((best[:, 2], best[:, 1], best[:, 0]))[:k]]
    return best[:, 1:].astype(np.int64)


def _neighbours(rows: npt.NDArray[np.float32], k: int, similarity: float) -> npt.NDArray[np.int64]:
    """Pairs of which each is among the other's k nearest, with at least that cosine."""
    found: set[tuple[int, int]] = set()
    for start, block in _products(rows):
        block[np.arange(len(block)), np.arange(start, start + len(block))] = -np.inf
        near = np.argsort(-block, axis=1, kind="stable")[:, :k]
        close = np.take_along_axis(block, near, axis=1) >= similarity
        line, place = np.nonzero(close)
        found.update(zip((line + start).tolist(), near[line, place].tolist(), strict=True))
    mutual = [(a, b) for a, b in found if a < b and (b, a) in found]
    return np.asarray(mutual, np.int64).reshape(-1, 2)


def _share(rows: npt.NDArray[np.float32], k: int, _: float) -> npt.NDArray[np.int64]:
    """The k percent most similar of all pairs."""
    if len(rows) > MOST_ROOTS:
        raise JobError(
            "synonyms",
            f"{k} percent of all pairs of {len(rows)} roots are too many: choose neighbours.",
        )
    first, second = np.triu_indices(len(rows), 1)
    values = (rows @ rows.T)[first, second]
    best = np.argsort(-values, kind="stable")[: int(len(values) * k / 100 + _EPS)]
    return np.column_stack([first[best], second[best]])


_READINGS = {"global": _global, "neighbours": _neighbours, "share": _share}


def _products(
    rows: npt.NDArray[np.float32],
) -> Iterator[tuple[int, npt.NDArray[np.float32]]]:
    """Cosines of some rows with all, (start, (n, r)), so that memory stays bounded."""
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        yield start, rows[start : start + _ROWS_AT_ONCE] @ rows.T


def _upper(rows: npt.NDArray[np.float32]) -> Iterator[tuple[int, npt.NDArray[np.float32]]]:
    """`_products` with minus infinity where the second row is not behind the first."""
    for start, block in _products(rows):
        block[np.tri(len(block), len(rows), start, dtype=bool)] = -np.inf
        yield start, block


def _float32(rows: npt.ArrayLike) -> npt.NDArray[np.float32]:
    return np.asarray(rows, np.float32)

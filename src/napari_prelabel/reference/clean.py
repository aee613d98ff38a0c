"""Cleaning of a set: abstract labels, outliers of a word, synonyms (docs/methods/reme.md#cleaning).

The raw pairs of segment and phrase stay; what a step takes or gives is stored beside them, so
that each step can be left away when the set is asked, and the whole undone.
"""

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from ..methods import pairs
from ..values.retrieval import Cleaning
from ..values.steps import finish
from ..values.vocabulary import key
from .marks import CleaningHead, CleaningMarks
from .metric import compared
from .store import ReferenceSet
from .values import REASONS, Cleaned, Label, Rows

Ints = npt.NDArray[np.int64]
# Unit rows (n, e) of words in a text encoder.
TextRows = Callable[[Sequence[str]], Rows]
Steps = Generator[tuple[int, int], None, Cleaned]

# A group's centre is the median of at most this many of its rows, spread evenly over them.
_CENTRE = 20_000
_AT_ONCE = 16_384


@dataclass(eq=False)
class _Pairs:
    """Pairs of row and label that are still there, and those that went, by reason."""

    rows: Ints
    labels: Ints
    gone: list[tuple[Ints, Ints, int]]

    def drop(self, which: npt.NDArray[np.bool_], reason: Literal["abstract", "outlier"]) -> int:
        self.gone.append((self.rows[which], self.labels[which], REASONS.index(reason)))
        self.rows, self.labels = self.rows[~which], self.labels[~which]
        return int(which.sum())


def clean(held: ReferenceSet, settings: Cleaning, text: TextRows | None = None) -> Cleaned:
    """`steps`, run to their end."""
    return finish(steps(held, settings, text))


def steps(held: ReferenceSet, settings: Cleaning, text: TextRows | None = None) -> Steps:
    """Clean a set and store what was done in place of the last cleaning, as one commit.

    text : gives the roots' rows for synonyms; without it words are not enriched. Outliers are
        judged by the rows that the set's metric compares, as a search does.

    Yields (groups done, groups in all); returns what was done. Raises JobError for settings out
    of range.
    """
    if settings.similarity is None:
        settings = replace(settings, similarity=pairs.SIMILARITY)
    labels = held.labels()
    left = _Pairs(*held.raw_pairs(), [])
    roots, of = roots_of(labels)
    kept = {key(word) for word in settings.keep}
    free = np.asarray([not kept & {key(e.phrase), key(e.root)} for e in labels], bool)
    abstract: tuple[str, ...] = ()
    n_abstract = n_outliers = 0
    if settings.abstract:
        spared = [root for root in roots if key(root) in kept]
        abstract = pairs.abstract_roots(_sizes(left, roots, of), spared)
        general = np.isin(np.asarray(roots, object), np.asarray(abstract, object))[of]
        n_abstract = left.drop((general & free)[left.labels], "abstract")
    if settings.outliers != "off":
        which = yield from _outliers(held, settings, left, of, len(roots))
        n_outliers = left.drop(which & free[left.labels], "outlier")
    sizes = _sizes(left, roots, of)
    here = [root for root in roots if sizes[root]]
    synonyms, added = _enriched(settings, text, labels, left, here)
    given = sum(len(rows) for rows in added.values())
    cleaned = Cleaned(settings, abstract, synonyms, n_abstract, n_outliers, given)
    held.put_cleaning(_marks(held, labels, cleaned, left.gone, added))
    return cleaned


def roots_of(labels: Sequence[Label]) -> tuple[list[str], Ints]:
    """The roots in order of appearance, and the number of each label's root."""
    numbers: dict[str, int] = {}
    roots: list[str] = []
    of = []
    for label in labels:
        name = key(label.root)
        if name not in numbers:
            numbers[name] = len(roots)
            roots.append(label.root)
        of.append(numbers[name])
    return roots, np.asarray(of, np.int64)


def _sizes(left: _Pairs, roots: Sequence[str], of: Ints) -> dict[str, int]:
    """How many segments each root has."""
    size = max(len(roots), 1)
    members = np.unique(left.rows * size + of[left.labels])
    counts = np.bincount(members % size, minlength=size)[: len(roots)]
    return {root: int(count) for root, count in zip(roots, counts, strict=True)}


def _outliers(
    held: ReferenceSet, settings: Cleaning, left: _Pairs, of: Ints, count: int
) -> Generator[tuple[int, int], None, npt.NDArray[np.bool_]]:
    """Pairs whose segment lies among the farthest of its root's group."""
    groups = split(of[left.labels], count)
    groups = [members for members in groups if len(members)]
    scores = []
    for done, members in enumerate(groups, start=1):
        scores.append(_closeness(held, np.unique(left.rows[members])))
        yield done, len(groups)
    rates = [settings.drop] * len(groups)
    if settings.outliers == "adaptive":
        rates = pairs.adaptive_rates([pairs.spread(s) for s in scores]).tolist()
    which = np.zeros(len(left.rows), bool)
    for members, found, rate in zip(groups, scores, rates, strict=True):
        rows = left.rows[members]
        which[members] = np.isin(rows, np.unique(rows)[pairs.lowest(found, rate)])
    return which


def split(numbers: Ints, count: int) -> list[npt.NDArray[np.intp]]:
    """Where each of the numbers 0 .. count - 1 stands."""
    order = np.argsort(numbers, kind="stable")
    if not count:
        return []
    return np.split(order, np.searchsorted(numbers[order], np.arange(1, count)))


def _closeness(held: ReferenceSet, rows: Ints) -> npt.NDArray[np.float32]:
    """Cosine of each row to the group's median centre, as the set compares rows, in bounded
    memory."""
    sample = rows[:: max(1, -(-len(rows) // _CENTRE))]
    centre = pairs.centre(compared(held.rows(sample), held.metric))
    parts = [
        compared(held.rows(rows[start : start + _AT_ONCE]), held.metric) @ centre
        for start in range(0, len(rows), _AT_ONCE)
    ]
    return np.concatenate(parts)


def _enriched(
    settings: Cleaning,
    text: TextRows | None,
    labels: Sequence[Label],
    left: _Pairs,
    roots: Sequence[str],
) -> tuple[tuple[tuple[str, str], ...], dict[tuple[str, str], Ints]]:
    """Pairs of synonymous roots, and (phrase, root) -> the rows that also get it."""
    if text is None or settings.synonyms == "off" or not roots:
        return (), {}
    least = pairs.SIMILARITY if settings.similarity is None else settings.similarity
    found = pairs.synonyms(text(roots), settings.k, settings.synonyms, least)
    alike = tuple((roots[a], roots[b]) for a, b in found.tolist())
    others: dict[str, list[str]] = {}
    for a, b in alike:
        others.setdefault(key(a), []).append(b)
        others.setdefault(key(b), []).append(a)
    rows: dict[tuple[str, str], list[Ints]] = {}
    for label, members in zip(labels, split(left.labels, len(labels)), strict=True):
        for told in _renamed(label, others) if len(members) else ():
            rows.setdefault(told, []).append(left.rows[members])
    return alike, {told: np.unique(np.concatenate(r)) for told, r in rows.items()}


def _renamed(label: Label, others: dict[str, list[str]]) -> Iterator[tuple[str, str]]:
    for other in others.get(key(label.root), ()):
        phrase = pairs.renamed(label.phrase, label.root, other)
        if phrase is not None:
            yield phrase, other


def _marks(
    held: ReferenceSet,
    labels: Sequence[Label],
    cleaned: Cleaned,
    gone: Sequence[tuple[Ints, Ints, int]],
    added: dict[tuple[str, str], Ints],
) -> CleaningMarks:
    """The results by image and place, for the store."""
    phrases = {(label.phrase, label.root): label.id for label in labels}
    numbers = {told: phrases.setdefault(told, len(phrases)) for told in added}
    dropped = [
        np.stack([*held.addresses(rows), columns, np.full(len(rows), reason)], axis=1)
        for rows, columns, reason in gone
    ]
    given = [
        np.stack([*held.addresses(rows), np.full(len(rows), numbers[told])], axis=1)
        for told, rows in added.items()
    ]
    head = CleaningHead(cleaned, tuple(s.hash for s in held.sources()), tuple(phrases))
    return CleaningMarks(head, _table(dropped, 4), _table(given, 3))


def _table(parts: Sequence[Ints], width: int) -> npt.NDArray[np.int32]:
    return np.concatenate([np.empty((0, width), np.int32), *parts]).astype(np.int32)

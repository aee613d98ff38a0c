"""The second-best classes of the answers that a layer shows, looked up by place. NumPy only."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...values.labels import Ids, LabelMap, Mask
from ...values.vocabulary import Vocabulary

Plane = tuple[int, ...]
# A class takes part when at least this share of a region's pixels names it second.
LEAST_SHARE = 0.02


@dataclass(frozen=True, slots=True, eq=False)
class Second:
    """One answer: the second-best ids (h, w) of its own vocabulary, and where it lies."""

    plane: Plane
    origin: tuple[int, int]
    ids: Ids
    vocabulary: Vocabulary

    def covers(self, other: "Second") -> bool:
        """Whether another answer lies inside this one."""
        ends = [(o + n, p + m) for o, n, p, m in zip(
            self.origin, self.ids.shape, other.origin, other.ids.shape, strict=True
        )]  # fmt: skip
        begins = all(o <= p for o, p in zip(self.origin, other.origin, strict=True))
        return self.plane == other.plane and begins and all(mine >= its for mine, its in ends)


@dataclass(slots=True)
class Seconds:
    """Answers, the newest last; those that a newer one covers are forgotten."""

    answers: list[Second] = field(default_factory=list)
    _before: list[tuple[Any, list[Second]]] = field(default_factory=list)
    _after: list[tuple[Any, list[Second]]] = field(default_factory=list)

    def put(self, step: Any, found: LabelMap, plane: Plane) -> None:
        """Take an answer of a run; `step` is what undoes the run."""
        self._after = []
        if not self._before or self._before[-1][0] is not step:
            self._before = [*self._before[-4:], (step, list(self.answers))]
        new = Second(plane, found.origin, found.runner_up, found.vocabulary)
        self.answers = [old for old in self.answers if not new.covers(old)] + [new]

    def undo(self, step: Any) -> None:
        """The answers before a run."""
        now = self.answers
        known = bool(self._before) and self._before[-1][0] is step
        self.answers = self._before.pop()[1] if known else []
        self._after.append((step, now))

    def redo(self, step: Any) -> None:
        """The answers after a run that was undone."""
        known = bool(self._after) and self._after[-1][0] is step
        now = self.answers
        self.answers = self._after.pop()[1] if known else []
        self._before.append((step, now))

    def ranked(self, plane: Plane, mask: Mask) -> list[str]:
        """Names that the pixels of a mask (Y, X) were second-best for, the commonest first.

        Classes that fewer than 2% of the pixels name are left out.
        """
        votes: Counter[str] = Counter()
        left = mask.copy()
        for answer in reversed(self.answers):
            if answer.plane != plane:
                continue
            (y, x), (h, w) = answer.origin, answer.ids.shape
            box = np.s_[y : y + h, x : x + w]
            counts = np.bincount(answer.ids[left[box]], minlength=1)
            for c in answer.vocabulary.classes:
                if c.id < len(counts) and counts[c.id]:
                    votes[c.name] += int(counts[c.id])
            left[box] = False
        least = LEAST_SHARE * mask.sum()
        return [name for name, count in votes.most_common() if count >= least]

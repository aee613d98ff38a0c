"""Generators that yield progress and return a result: followed step by step, or to their end."""

from collections.abc import Generator, Iterator
from typing import Any, Generic, TypeVar

_Step = TypeVar("_Step")
_Result = TypeVar("_Result")


class Followed(Generic[_Step, _Result]):
    """What a generator yields, to go through once; `result` is there when it has ended.

    >>> def count():
    ...     yield 1
    ...     return "done"
    >>> steps = Followed(count())
    >>> [step for step in steps], steps.result
    ([1], 'done')
    """

    result: _Result

    def __init__(self, steps: Generator[_Step, None, _Result]) -> None:
        self._steps = steps

    def __iter__(self) -> Iterator[_Step]:
        self.result = yield from self._steps


def finish(steps: Generator[Any, None, _Result]) -> _Result:
    """What a generator returns; what it yields is passed over."""
    followed = Followed(steps)
    for _ in followed:
        pass
    return followed.result

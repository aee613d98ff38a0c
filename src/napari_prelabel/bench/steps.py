"""Generators that yield progress and return their result, run to the end."""

from collections.abc import Generator
from typing import Any, TypeVar

_T = TypeVar("_T")


def finish(steps: Generator[Any, None, _T]) -> _T:
    """What a generator returns; what it yields is passed over."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: _T = end.value
            return result

"""An engine in a worker, driven like one in this process."""

import queue
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..values.job import Job, Progress
from .pool import OnDone, OnProgress, Pool, Submitted

if TYPE_CHECKING:
    from ..engine.tasks import Task


class Away:
    """The engine of a pool's worker, for the commands; one request at a time."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    @property
    def device(self) -> str:
        """Where it computes and at which address; known once something ran."""
        return self._pool.where

    def run(self, job: Job, image: npt.NDArray[np.uint8]) -> Generator[Progress, None, Any]:
        """As Engine.run."""
        return self._follow(lambda step, end: self._pool.submit(job, image, step, end))

    def do(self, task: "Task") -> Generator[Progress, None, Any]:
        """As Engine.do."""
        return self._follow(lambda step, end: self._pool.ask(task, step, end))

    def _follow(
        self, start: Callable[[OnProgress, OnDone], Submitted]
    ) -> Generator[Progress, None, Any]:
        said: queue.SimpleQueue[Any] = queue.SimpleQueue()
        run = start(said.put, said.put)
        try:
            while isinstance(word := said.get(), Progress):
                yield word
        finally:  # also where nobody asks for the next step
            run.cancel()
        if isinstance(word, Exception):
            raise word
        return word

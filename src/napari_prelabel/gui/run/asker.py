"""Questions to the worker: prepared off the GUI thread, answered in it."""

import itertools
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, Signal

from ...values.errors import Cancelled
from ...values.job import Progress
from ...worker.pool import Pool
from .runner import shared_pool

if TYPE_CHECKING:
    from ...engine.tasks import Task

Make = Callable[[], "Task"]


class Asker(QObject):
    """One question at a time; what belongs to an older one is dropped.

    progressed(Progress), ended(outcome): the worker's answer or the exception.
    """

    progressed = Signal(object)
    ended = Signal(object)
    _moved = Signal(int, object)
    _came = Signal(int, object)
    _sent = Signal(int, object)

    def __init__(self, pool: Callable[[], Pool] = shared_pool) -> None:
        super().__init__()
        self.pool = pool
        self._numbers = itertools.count(1)
        self._number = 0
        self._run: Any = None
        self._moved.connect(self._show)
        self._came.connect(self._end)
        self._sent.connect(self._hold)

    @property
    def busy(self) -> bool:
        return self._number != 0

    def ask(self, make: Make) -> None:
        """Ask what `make` gives; it reads images, so it is called off the GUI thread."""
        self.cancel()
        number = self._number = next(self._numbers)
        threading.Thread(target=self._work, args=(number, make), daemon=True).start()

    def cancel(self) -> None:
        """Give the question up; `ended` brings Cancelled."""
        number, run = self._number, self._run
        if run is not None:
            run.cancel()
        if number:
            self._end(number, Cancelled())

    def leave(self) -> None:
        """For a dock that is closed: the worker stops, nobody is told."""
        self._number = 0
        if self._run is not None:
            self._run.cancel()

    def _work(self, number: int, make: Make) -> None:
        """Off the GUI thread: prepare, send, and hand on what comes."""
        try:
            task = make()
            if number != self._number:
                return
            run = self.pool().ask(
                task,
                lambda step: self._say(self._moved, number, step),
                lambda outcome: self._say(self._came, number, outcome),
            )
            try:
                self._sent.emit(number, run)
            except RuntimeError:  # the window has gone meanwhile
                run.cancel()
        except Exception as error:
            self._say(self._came, number, error)

    def _say(self, signal: Any, *values: Any) -> None:
        """Emit, unless the window has gone meanwhile."""
        try:
            signal.emit(*values)
        except RuntimeError:
            return

    def _hold(self, number: int, run: Any) -> None:
        """Keep what can be cancelled, or cancel it where nobody waits for it any more."""
        if number == self._number:
            self._run = run
        else:
            run.cancel()

    def _show(self, number: int, step: Progress) -> None:
        if number == self._number:
            self.progressed.emit(step)

    def _end(self, number: int, outcome: Any) -> None:
        if number == self._number:
            self._number, self._run = 0, None
            self.ended.emit(outcome)

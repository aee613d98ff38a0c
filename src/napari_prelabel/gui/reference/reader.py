"""Slow reading off the GUI thread, one thing after another, each with its own answer."""

import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

from qtpy.QtCore import QObject, Signal

Work = Callable[[], Any]
Then = Callable[[Any], None]


class Reader(QObject):
    """`failed` brings the exception of work whose asker did not want to hear of it."""

    failed = Signal(object)
    _answered = Signal(object, object)

    def __init__(self) -> None:
        super().__init__()
        self._tasks: SimpleQueue[tuple[Work, Then] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._closed = False
        self._answered.connect(self._deliver)

    def ask(self, work: Work, then: Then) -> None:
        """Do `work` in the reader's thread and hand its value to `then` in the GUI thread."""
        if self._closed:
            return
        if self._thread is None:
            self._thread = threading.Thread(target=self._live, daemon=True)
            self._thread.start()
        self._tasks.put((work, then))

    def close(self) -> None:
        """Answer nothing any more; work that waits is dropped."""
        self._closed = True
        self._tasks.put(None)

    def _live(self) -> None:
        while (task := self._tasks.get()) is not None and not self._closed:
            work, then = task
            try:
                outcome = work()
            except Exception as error:
                outcome = error
            try:
                self._answered.emit(then, outcome)
            except RuntimeError:
                return  # the window closed meanwhile, and nobody waits

    def _deliver(self, then: Then, outcome: Any) -> None:
        if self._closed:
            return
        if isinstance(outcome, Exception):
            self.failed.emit(outcome)
        else:
            then(outcome)

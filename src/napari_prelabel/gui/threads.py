"""Short work off the GUI thread whose outcome comes back as a signal."""

import threading
from collections.abc import Callable
from typing import Any

from qtpy.QtCore import QObject, Signal


class Background(QObject):
    """`done` brings what the function returned, or the exception it raised, in the GUI thread."""

    done = Signal(object)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)

    def start(self, function: Callable[[], Any]) -> None:
        """Run a function in a thread of its own."""
        threading.Thread(target=self._work, args=(function,), daemon=True).start()

    def _work(self, function: Callable[[], Any]) -> None:
        try:
            outcome = function()
        except Exception as error:
            outcome = error
        try:
            self.done.emit(outcome)
        except RuntimeError:
            return  # the window closed meanwhile, and nobody waits

"""The worker as the window sees it: when it starts, where it computes, when it starts again."""

from qtpy.QtCore import QObject, QTimer

from ..preferences import Preferences, changes
from .run_bar import RunBar
from .runner import renew_shared_pool, shared_pool
from .session import Session

SOON = "The worker starts again with the changed settings."
LATER = "The worker takes the changed settings when this run has ended."


class WorkerLine(QObject):
    """Keeps the bar's line up to date and the worker as napari's Preferences say."""

    def __init__(self, session: Session, bar: RunBar) -> None:
        super().__init__(bar)
        self._session, self._bar = session, bar
        self._pool = session.runner.pool
        self._tick = QTimer(self)
        self._tick.setInterval(1000)
        self._tick.timeout.connect(self.show)
        self._early = changes().follow().early
        changes().changed.connect(self._changed)

    def warm_up(self) -> None:
        """Start the worker while the person still types, where they want it so."""
        if self._pool is shared_pool and self._early:
            shared_pool().start()
            self.follow()

    def follow(self) -> None:
        """Keep the line up to date from now on."""
        self._tick.start()

    def show(self) -> None:
        pool = self._pool()
        self._bar.show_device(pool.where, pool.memory(), pool.trouble)

    def _changed(self, now: Preferences) -> None:
        self._early = now.early
        if self._pool is shared_pool and renew_shared_pool():
            if self._session.running:
                self._bar.add("info", LATER)
            else:
                self._bar.say(("info", SOON))

"""From the dock to the worker and back: one batch of planes at a time, never waiting in the GUI."""

import atexit
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, Signal
from qtpy.QtWidgets import QApplication

from ...values.errors import Cancelled, ImageError, PrelabelError
from ...values.faults import ends_all
from ...values.job import Job, Progress
from ...worker.pool import Pool, Submitted
from ..preferences import preferences

if TYPE_CHECKING:
    from ...images.rgb import Shown

Plane = tuple[int, ...]
Load = Callable[[Plane], "Shown"]
_pool: Pool | None = None


def shared_pool() -> Pool:
    """The one worker of this napari, started when it is first asked for."""
    global _pool
    if _pool is None:
        now = preferences()
        _pool = Pool(now.address, now.tls, setup=now.setup)
        atexit.register(close_shared_pool)
        if app := QApplication.instance():
            app.aboutToQuit.connect(close_shared_pool)
    return _pool


def renew_shared_pool() -> bool:
    """Give the worker what the Preferences say; whether one is up that now starts again."""
    now = preferences()
    return _pool is not None and _pool.change(now.setup, now.address, now.tls)


def close_shared_pool() -> None:
    """End the worker; a later run starts another."""
    global _pool
    pool, _pool = _pool, None
    if pool is not None:
        pool.close()


@dataclass(slots=True, eq=False)
class _Batch:
    number: int
    stop: bool = False
    run: Submitted | None = None

    def check(self) -> None:
        """Raise Cancelled once the batch is to stop; what runs is told."""
        if self.stop:
            if self.run is not None:
                self.run.cancel()
            raise Cancelled


class Runner(QObject):
    """Runs a job on planes one after another; every signal arrives in the GUI thread.

    progressed(batch, plane number, planes, Progress), arrived(batch, plane, LabelMap),
    missed(batch, plane, error) for a plane that cannot be labelled while others can, ended(batch,
    error or None). Signals of an older batch are to be dropped by their number.
    """

    progressed = Signal(int, int, int, object)
    arrived = Signal(int, object, object)
    missed = Signal(int, object, object)
    ended = Signal(int, object)

    def __init__(self, pool: Callable[[], Pool] = shared_pool) -> None:
        super().__init__()
        self.pool = pool
        self._batch = _Batch(0)

    @property
    def current(self) -> int:
        """Number of the newest batch."""
        return self._batch.number

    def start(self, job: Job, load: Load, planes: Sequence[Plane]) -> int:
        """Begin a batch and return its number at once; an older one is cancelled.

        load : gives a plane as the models see it; called off the GUI thread. Where it has no
            picture it stays unlabelled.
        """
        self.cancel()
        batch = self._batch = _Batch(self._batch.number + 1)
        threading.Thread(
            target=self._work, args=(batch, job, load, list(planes)), daemon=True
        ).start()
        return batch.number

    def cancel(self) -> None:
        """Stop the batch at the worker's next window; planes that are done stay done."""
        self._batch.stop = True
        if self._batch.run is not None:
            self._batch.run.cancel()

    def _work(self, batch: _Batch, job: Job, load: Load, planes: list[Plane]) -> None:
        error: Exception | None = None
        missed: list[Exception] = []
        try:
            for number, plane in enumerate(planes):
                try:
                    self._one(batch, job, load, plane, (number, len(planes)))
                except Exception as caught:
                    missed.append(caught)
                    if ends_all(caught) or len(missed) == len(planes):
                        raise
                    self._say(self.missed, batch.number, plane, caught)
        except Exception as caught:
            error = caught
        self._say(self.ended, batch.number, error)

    def _one(
        self, batch: _Batch, job: Job, load: Load, plane: Plane, where: tuple[int, int]
    ) -> None:
        shown = _load(load, plane)
        batch.check()

        def progress(step: Progress) -> None:
            self._say(self.progressed, batch.number, *where, step)

        batch.run = self.pool().submit(job, shown.rgb, progress)
        batch.check()
        found = batch.run.result().only(shown.valid)
        self._say(self.arrived, batch.number, plane, found)

    def _say(self, signal: Any, *values: Any) -> None:
        """Emit, unless the window has gone meanwhile."""
        try:
            signal.emit(*values)
        except RuntimeError:
            self._batch.stop = True


def _load(load: Load, plane: Plane) -> "Shown":
    try:
        return load(plane)
    except PrelabelError:
        raise
    except Exception as error:
        raise ImageError(f"The image could not be read: {error}") from error

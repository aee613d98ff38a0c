"""Where runs happen: a worker beside napari's process or in another machine, reached by messages.

Nothing here imports torch, and distributed not before a worker is started; no call but
`Submitted.result` and `Pool.close` waits. Callbacks come on the pool's thread, never on the
caller's: a window must hand them on by a signal.
"""

import asyncio
import contextlib
import itertools
import logging
import math
import threading
import time
import traceback
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..values.errors import (
    Cancelled,
    ConnectionLost,
    ImageError,
    PrelabelError,
    RunFailed,
    Superseded,
    WorkerDied,
    WorkerNotStarted,
)
from ..values.job import Job, Progress
from .connection import Connection, Terms, Where
from .local import Setup

if TYPE_CHECKING:
    from ..engine.tasks import Task

_log = logging.getLogger(__name__)

ENGINE = "napari_prelabel.engine.engine:Engine"
# Seconds between two looks at whether a connection is still there, and between two tries.
_LOOK, _TRY = 0.5, 2.0
OnProgress = Callable[[Progress], None]
# A LabelMap for a job, the answer of a task, or the error.
OnDone = Callable[[Any], None]


@dataclass(slots=True, eq=False)
class Submitted:
    """A submitted job or task. `generation` grows with every submission to one pool."""

    generation: int
    job: "Job | Task"
    _pool: "Pool" = field(repr=False)
    _image: npt.NDArray[np.uint8] | None = field(repr=False)
    _on_progress: OnProgress | None = field(repr=False)
    _on_done: OnDone | None = field(repr=False)
    _future: Future[Any] = field(default_factory=Future, repr=False)

    def result(self, timeout: float | None = None) -> Any:
        """Wait for the label map or a task's answer; raises the run's error, or TimeoutError."""
        return self._future.result(timeout)

    def done(self) -> bool:
        """Whether there is a result or an error."""
        return self._future.done()

    def cancel(self) -> None:
        """End the run with Cancelled at once; the worker stops at its next batch of windows."""
        self._pool._cancel(self)


class Pool:
    """A worker that holds the models and runs one job of this pool at a time.

    address : "tls://host:port" of a `prelabel serve`, None for a worker on this machine.
    credentials : the folder that `prelabel serve --tls` made, for an address.
    setup : what a worker on this machine is started with; `change` takes another one.
    engine : "module:name" of what makes its engine, imported in the worker only.
    start_timeout : seconds until a worker that has not said hello is given up.
    patience : seconds a cancelled run has to stop before its process is replaced.

    trouble : why a worker elsewhere is not connected, "" while it is or was not tried.
    """

    def __init__(
        self,
        address: str | None = None,
        credentials: Path | None = None,
        *,
        setup: Setup | None = None,
        engine: str = ENGINE,
        start_timeout: float = 60.0,
        patience: float = 10.0,
    ) -> None:
        self._wanted = Where(address, credentials, setup or Setup())
        self._terms = Terms(engine, start_timeout, patience, self._progress)
        self._numbers = itertools.count(1)
        self._runs: dict[int, Submitted] = {}
        self._running: Submitted | None = None
        self._connection: Connection | None = None
        self._ahead = False
        self._again = math.inf
        self.trouble = ""
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._wake, self._end = asyncio.Event(), asyncio.Event()
        self._closed = False

    def __enter__(self) -> "Pool":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self) -> None:
        """Start the worker ahead of the first run; returns at once."""
        self._later(self._begin)

    def change(
        self, setup: Setup, address: str | None = None, credentials: Path | None = None
    ) -> bool:
        """Take another worker; one that is up is left, and the other begun, once nothing runs.

        Returns whether there is such a worker; one that has not been started is not started.
        """
        wanted = Where(address, credentials, setup)
        with self._lock:
            same, self._wanted = wanted == self._wanted, wanted
        up = self._connection is not None
        if up and not same:
            self._later(self._wake.set)
        return up and not same

    def submit(
        self,
        job: Job,
        image: npt.NDArray[np.uint8],
        on_progress: OnProgress | None = None,
        on_done: OnDone | None = None,
    ) -> Submitted:
        """Run a job on pixels (H, W, 3) uint8 and return at once; an older run ends Superseded.

        image : must not change until the run is done.
        on_progress : called with Progress, at most some ten times a second.
        on_done : called once, with the LabelMap or with the error.

        Raises ImageError for other arrays, WorkerNotStarted when the pool is closed.
        """
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
            raise ImageError(
                f"The worker takes (H, W, 3) uint8 pixels, not {image.shape} {image.dtype}: "
                "convert them with pixels.to_rgb."
            )
        return self._add(job, image, on_progress, on_done)

    def ask(
        self, task: "Task", on_progress: OnProgress | None = None, on_done: OnDone | None = None
    ) -> Submitted:
        """Do a task of engine.tasks and return at once; it waits for what runs before it.

        A task that `replaces` ends an older one of its kind Superseded; jobs and tasks never
        supersede each other. Its arrays must not change until it is done.
        """
        return self._add(task, None, on_progress, on_done)

    def _add(
        self,
        request: "Job | Task",
        image: npt.NDArray[np.uint8] | None,
        on_progress: OnProgress | None,
        on_done: OnDone | None,
    ) -> Submitted:
        run = Submitted(next(self._numbers), request, self, image, on_progress, on_done)
        with self._lock:
            older = [r for r in self._runs.values() if _supersedes(request, r.job)]
            self._runs[run.generation] = run
        for other in older:
            self._later(self._drop, other, Superseded())
        self._later(self._wake.set)
        return run

    @property
    def ready(self) -> bool:
        """Whether the worker has loaded its libraries."""
        return bool(self.worker)

    @property
    def device(self) -> str:
        """Where the worker computes, "" while it is not known."""
        return str(self.worker.get("device", ""))

    @property
    def address(self) -> str:
        """Of a worker elsewhere, "" for one on this machine."""
        return self._wanted.address or ""

    @property
    def where(self) -> str:
        """Where the worker computes, and at which address; whether that is being tried again."""
        if not self.address:
            return self.device
        if self._again < math.inf:
            return f"no connection to {self.address}, tried again"
        return f"{self.device} at {self.address}" if self.ready else ""

    def memory(self) -> int:
        """Bytes of memory a worker on this machine occupies, 0 while it is not up."""
        return 0 if self._connection is None else self._connection.memory()

    @property
    def worker(self) -> dict[str, Any]:
        """What the worker says of itself: pid, device; empty until it has."""
        return {} if self._connection is None else self._connection.worker

    def close(self, timeout: float = 5.0) -> None:
        """End the worker and cancel what runs; waits for it, `timeout` seconds at most."""
        with self._lock:
            thread, loop, self._closed = self._thread, self._loop, True
        if thread is None or loop is None:
            return
        with contextlib.suppress(RuntimeError):  # it has ended
            loop.call_soon_threadsafe(self._end.set)
        thread.join(timeout)

    def _later(self, task: Callable[..., object], *arguments: Any) -> None:
        """Do something on the pool's own thread, as everything below is done."""
        with self._lock:
            if self._closed:
                raise WorkerNotStarted("it was closed.")
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(target=self._work, name="prelabel", daemon=True)
                self._thread.start()
            self._loop.call_soon_threadsafe(task, *arguments)

    def _work(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:  # type: ignore[arg-type,return-value]
            runner.run(self._serve())

    async def _serve(self) -> None:
        runs = asyncio.create_task(self._do_runs())
        await self._end.wait()
        for generation in list(self._runs):
            self._finish(generation, Cancelled())
        runs.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await runs
        if self._connection is not None:
            await self._connection.close()

    async def _do_runs(self) -> None:
        """One request after another, in the order they came; between them, the connection."""
        while True:
            self._wake.clear()
            if run := next(iter(list(self._runs.values())), None):
                await self._one(run)
            elif self._due():
                with contextlib.suppress(PrelabelError):  # the next run tells it
                    await self._connected()
            else:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._wake.wait(), _LOOK if self.address else None)

    async def _one(self, run: Submitted) -> None:
        self._running = run
        outcome: Any
        try:
            connection = await self._connected()
            if run.done():
                return
            outcome = await connection.run(run.generation, run.job, run._image)
            if isinstance(outcome, Cancelled) and not run.done():
                # Nobody here cancelled it: the server took us for gone.
                outcome = ConnectionLost(self.address)
        except PrelabelError as error:
            outcome = error
        except Exception as error:
            outcome = _unforeseen(error)
        finally:
            self._running = None
        self._finish(run.generation, outcome)
        if isinstance(outcome, WorkerDied) and connection.alive:
            await connection.warm()

    def _begin(self) -> None:
        self._ahead = True
        self._wake.set()

    def _due(self) -> bool:
        """Whether to connect though nothing is to be run."""
        held = self._connection
        if held is not None and held.alive:
            return held.where != self._wanted
        if held is not None and self.address and self._again == math.inf:
            self._again, self.trouble = 0.0, str(ConnectionLost(self.address))
        return self._ahead or (bool(self.address) and time.monotonic() >= self._again)

    async def _connected(self) -> Connection:
        """The worker where it is wanted now; raises what opening it raises."""
        self._ahead = False
        held = self._connection
        if held is not None and held.alive and held.where == self._wanted:
            return held
        if held is not None:
            await held.close()
        made = self._connection = Connection(self._wanted, self._terms)
        try:
            await made.open()
        except PrelabelError as error:
            self._connection = None
            self._again, self.trouble = time.monotonic() + _TRY, str(error)
            await made.close()
            raise
        self._again, self.trouble = math.inf, ""
        return made

    def _cancel(self, run: Submitted) -> None:
        """Called on any thread."""
        if not run.done():
            with contextlib.suppress(WorkerNotStarted):
                self._later(self._drop, run, Cancelled())

    def _drop(self, run: Submitted, why: PrelabelError) -> None:
        """End a run here at once, and in the worker at its next batch of windows."""
        if run is self._running and self._connection is not None and not run.done():
            self._connection.stop()
        self._finish(run.generation, why)

    def _progress(self, generation: int, progress: Progress) -> None:
        run = self._runs.get(generation)
        if run is not None and run._on_progress is not None:
            _call(run._on_progress, progress)

    def _finish(self, generation: int, outcome: Any) -> None:
        """Give a run its end; a reply for a run that already has one is dropped."""
        with self._lock:
            run = self._runs.pop(generation, None)
        if run is None:
            return
        run._image = None
        if isinstance(outcome, PrelabelError):
            run._future.set_exception(outcome)
        else:
            run._future.set_result(outcome)
        if run._on_done is not None:
            _call(run._on_done, outcome)


def _supersedes(new: "Job | Task", old: "Job | Task") -> bool:
    if isinstance(new, Job):
        return isinstance(old, Job)
    return new.replaces and type(new) is type(old)


def _unforeseen(error: Exception) -> RunFailed:
    cause = f"{type(error).__name__}: {error}"
    return RunFailed(cause, "".join(traceback.format_exception(error)))


def _call(callback: Callable[[Any], None], value: Any) -> None:
    try:
        callback(value)
    except Exception:
        _log.exception("a callback of a run failed")

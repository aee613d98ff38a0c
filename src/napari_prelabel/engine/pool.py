"""Where runs happen: a worker process beside napari's, reached by messages.

Nothing here imports torch or distributed; no call but `Submitted.result` and `Pool.close` waits:
files are written and processes started in the pool's own thread. Callbacks come on one of the
pool's threads, never on the caller's: a window must hand them on by a signal.
"""

import contextlib
import itertools
import json
import logging
import os
import queue
import shutil
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import numpy.typing as npt
import psutil

from ..values.errors import (
    Cancelled,
    ImageError,
    PrelabelError,
    RunFailed,
    Superseded,
    WorkerDied,
    WorkerNotStarted,
)
from ..values.job import Job, Progress
from . import wire

if TYPE_CHECKING:
    from .tasks import Task

_log = logging.getLogger(__name__)

ENGINE = "napari_prelabel.engine.engine:Engine"
# Messages that begin with the number of a run.
_OF_A_RUN = ("progress", "died", "failed", "done")
# Seconds a process that closed its pipe has to end before it is killed.
_PARTING = 3.0
OnProgress = Callable[[Progress], None]
# A LabelMap for a job, the answer of a task, or the error.
OnDone = Callable[[Any], None]


@dataclass(frozen=True, slots=True)
class Setup:
    """What a worker is started with.

    arguments : keyword arguments of the engine, of what JSON holds.
    environment : variables of its process beside those of this one.
    """

    arguments: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True, eq=False)
class Submitted:
    """A submitted job or task. `generation` grows with every submission to one pool."""

    generation: int
    job: "Job | Task"
    _pool: "Pool" = field(repr=False)
    _on_progress: OnProgress | None = field(repr=False)
    _on_done: OnDone | None = field(repr=False)
    _future: Future[Any] = field(default_factory=Future, repr=False)
    _host: "_Host | None" = field(default=None, repr=False)

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
    """A worker process that holds the models and runs one job at a time.

    engine : "module:name" of what makes the engine, imported in the worker only.
    setup : what the worker is started with; `change` takes another one.
    start_timeout : seconds until a worker that has not said hello is given up.
    patience : seconds a cancelled run has to stop before its process is replaced.
    """

    def __init__(
        self,
        engine: str = ENGINE,
        setup: Setup | None = None,
        *,
        start_timeout: float = 60.0,
        patience: float = 10.0,
    ) -> None:
        self._engine = engine
        self._setup = setup or Setup()
        self._start_timeout = start_timeout
        self._patience = patience
        self._numbers = itertools.count(1)
        self._runs: dict[int, Submitted] = {}
        self._lock = threading.Lock()
        self._tasks: queue.SimpleQueue[Callable[[], object] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._host: _Host | None = None
        self._closed = False

    def __enter__(self) -> "Pool":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self) -> None:
        """Start the worker ahead of the first run; returns at once."""
        self._later(self._ensure_host)

    def change(self, setup: Setup) -> bool:
        """Take another setup; a worker that is up starts again with it once nothing runs.

        Returns whether there is such a worker; one that has not been started is not started.
        """
        with self._lock:
            same, self._setup = setup == self._setup, setup
        up = self._host is not None and self._host.alive
        if up and not same:
            self._later(self._renew)
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
        return self._start(job, image, on_progress, on_done)

    def ask(
        self, task: "Task", on_progress: OnProgress | None = None, on_done: OnDone | None = None
    ) -> Submitted:
        """Do a task of engine.tasks and return at once; it waits for what runs before it.

        A task that `replaces` ends an older one of its kind Superseded; jobs and tasks never
        supersede each other. Its arrays must not change until it is done.
        """
        return self._start(task, None, on_progress, on_done)

    def _start(
        self,
        request: "Job | Task",
        image: npt.NDArray[np.uint8] | None,
        on_progress: OnProgress | None,
        on_done: OnDone | None,
    ) -> Submitted:
        run = Submitted(next(self._numbers), request, self, on_progress, on_done)
        with self._lock:
            older = [r for r in self._runs.values() if _supersedes(request, r.job)]
            self._runs[run.generation] = run
        for other in older:
            self._later(partial(self._drop, other, Superseded()))
        self._later(partial(self._send, run, image))
        return run

    @property
    def ready(self) -> bool:
        """Whether the worker has loaded its libraries."""
        return self._host is not None and bool(self._host.worker)

    @property
    def device(self) -> str:
        """Where the worker computes, "" while it is not known."""
        return str(self._host.worker.get("device", "")) if self._host else ""

    def memory(self) -> int:
        """Bytes of memory the worker occupies, 0 while it is not up."""
        pid = self._host.worker.get("pid") if self._host else None
        try:
            return int(psutil.Process(pid).memory_info().rss) if pid else 0
        except psutil.Error:
            return 0

    def close(self, timeout: float = 5.0) -> None:
        """End the worker and cancel what runs; waits for it, `timeout` seconds at most."""
        with self._lock:
            thread, self._closed = self._thread, True
        if thread is None or not thread.is_alive():
            return
        self._tasks.put(None)
        thread.join(timeout)

    # Everything below runs on the pool's own threads.

    def _later(self, task: Callable[[], object]) -> None:
        with self._lock:
            if self._closed:
                raise WorkerNotStarted("it was closed.")
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="prelabel", daemon=True)
                self._thread.start()
        self._tasks.put(task)

    def _work(self) -> None:
        while (task := self._tasks.get()) is not None:
            try:
                task()
            except Exception:
                _log.exception("a task of the pool failed")
        for generation in list(self._runs):
            self._finish(generation, Cancelled())
        if self._host is not None:
            self._host.close()

    def _outdated(self) -> bool:
        """Whether the worker has another setup than the wanted one, and nothing to do."""
        host = self._host
        if host is None or not host.alive or host.setup == self._setup:
            return False
        return all(run._host is not host for run in list(self._runs.values()))

    def _renew(self) -> None:
        if self._outdated():
            self._ensure_host()

    def _ensure_host(self) -> "_Host":
        if self._outdated():
            assert self._host is not None
            self._host.close()
        if self._host is None or not self._host.alive:
            try:
                self._host = _Host(
                    self, self._engine, self._setup, (self._start_timeout, self._patience)
                )
            except OSError as error:
                raise WorkerNotStarted(f"{error.strerror or error}.") from error
        return self._host

    def _send(self, run: Submitted, image: npt.NDArray[np.uint8] | None) -> None:
        if run.done():
            return
        try:
            host = run._host = self._ensure_host()
            job, kept = (None, run.job) if image is None else (run.job, image)
            host.send("run", run.generation, job, host.keep(run.generation, kept))
        except PrelabelError as error:
            self._finish(run.generation, error)
        except OSError as error:
            self._finish(run.generation, WorkerDied(error.strerror or str(error)))
        except Exception as error:
            self._finish(run.generation, _unforeseen(error))

    def _cancel(self, run: Submitted) -> None:
        if not run.done():
            with contextlib.suppress(WorkerNotStarted):
                self._later(partial(self._drop, run, Cancelled()))

    def _drop(self, run: Submitted, why: PrelabelError) -> None:
        """End a run here at once, and in the worker at its next batch of windows."""
        if run._host is not None and not run.done():
            with contextlib.suppress(OSError):
                run._host.send("cancel", run.generation)
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
        if isinstance(outcome, PrelabelError):
            run._future.set_exception(outcome)
        else:
            run._future.set_result(outcome)
        if self._outdated():
            with contextlib.suppress(WorkerNotStarted):
                self._later(self._renew)
        if run._on_done is not None:
            _call(run._on_done, outcome)

    def _lost(self, host: "_Host", error: PrelabelError) -> None:
        for run in list(self._runs.values()):
            if run._host is host:
                self._finish(run.generation, error)


class _Host:
    """One host process and the thread that listens to it."""

    def __init__(self, pool: Pool, engine: str, setup: Setup, seconds: tuple[float, float]) -> None:
        """seconds : until it is given up at its start, and what a cancelled run has to stop."""
        start_timeout, patience = seconds
        self.setup = setup
        self.folder = Path(tempfile.mkdtemp(prefix="prelabel-"))
        self.worker: dict[str, Any] = {}
        self._pool = pool
        self._hello = threading.Event()
        self._lock = threading.Lock()
        self._log = self.folder / "log.txt"
        try:
            self._process = _spawn(self.folder, self._log, (engine, setup), patience)
        except BaseException:
            shutil.rmtree(self.folder, ignore_errors=True)
            raise
        assert self._process.stdin is not None
        self._stdin: BinaryIO = self._process.stdin  # type: ignore[assignment]
        self._timer = threading.Timer(start_timeout, self._give_up, [start_timeout])
        self._timer.daemon = True
        self._timer.start()
        self._late = ""
        threading.Thread(target=self._listen, name="prelabel-listen", daemon=True).start()

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def keep(self, generation: int, what: Any) -> Path:
        """Write a run's pixels, or a task, where the worker finds them."""
        path = self.folder / f"{generation}.npy"
        if isinstance(what, np.ndarray):
            wire.save_image(path, what)
        else:
            wire.save_object(path, what)
        return path

    def send(self, *message: Any) -> None:
        """Raises OSError when the process has ended."""
        with self._lock:
            if self._stdin.closed:
                raise BrokenPipeError("the process has ended")
            wire.send(self._stdin, message)

    def close(self, timeout: float = 3.0) -> None:
        """Close the pipe, upon which the process ends; kill it and its children if it does not."""
        with contextlib.suppress(OSError):
            self._stdin.close()
        try:
            self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            self._kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _give_up(self, seconds: float) -> None:
        if not self._hello.is_set():
            self._late = f"it said nothing for {seconds:g} s."
            self._kill()

    def _kill(self) -> None:
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(self._process.pid)
            for child in [*process.children(recursive=True), process]:
                with contextlib.suppress(psutil.Error):
                    child.kill()
        self._process.wait()

    def _listen(self) -> None:
        stream = self._process.stdout
        assert stream is not None
        try:
            with stream:
                while True:
                    self._hear(*wire.receive(stream))  # type: ignore[arg-type]
        except (EOFError, OSError):
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_PARTING)
        except Exception:
            _log.exception("a message of the worker cannot be read")
        self._timer.cancel()
        # Without anyone listening, no run of this process could ever end.
        self._kill()
        with contextlib.suppress(OSError), self._lock:
            self._stdin.close()
        self._pool._lost(self, self._why())
        shutil.rmtree(self.folder, ignore_errors=True)

    def _hear(self, kind: str, *rest: Any) -> None:
        try:
            self._take(kind, *rest)
        except Exception as error:
            _log.exception("a message of kind %s cannot be taken", kind)
            if kind in _OF_A_RUN:
                self._pool._finish(rest[0], _unforeseen(error))

    def _take(self, kind: str, *rest: Any) -> None:
        if kind == "hello":
            self._hello.set()
            self._timer.cancel()
        elif kind == "worker":
            self.worker = rest[0]
        elif kind == "progress":
            self._pool._progress(rest[0], Progress(**rest[1]))
        elif kind == "died":
            self._pool._finish(rest[0], WorkerDied())
        elif kind == "failed":
            self._pool._finish(rest[0], rest[1])
        elif kind == "done":
            path, labels = rest[1]
            answer = wire.take_object(path) if labels is None else wire.load_labels(path, labels)
            self._pool._finish(rest[0], answer)

    def _why(self) -> PrelabelError:
        if self._hello.is_set():
            return WorkerDied(f"its guard ended with code {self._process.returncode}")
        tail = ""
        with contextlib.suppress(OSError):
            lines = self._log.read_text("utf-8", "replace").strip().splitlines()
            tail = lines[-1][-300:] if lines else ""
        reason = self._late or f"it ended with code {self._process.returncode}."
        return WorkerNotStarted(f"{reason} Its last words: {tail}." if tail else reason)


def _supersedes(new: "Job | Task", old: "Job | Task") -> bool:
    if isinstance(new, Job):
        return isinstance(old, Job)
    return new.replaces and type(new) is type(old)


def _unforeseen(error: Exception) -> RunFailed:
    cause = f"{type(error).__name__}: {error}"
    return RunFailed(cause, "".join(traceback.format_exception(error)))


def _spawn(
    folder: Path, log: Path, what: tuple[str, Setup], patience: float
) -> "subprocess.Popen[bytes]":
    engine, setup = what
    command = [
        sys.executable, "-P", "-m", "napari_prelabel.engine.host",
        "--folder", str(folder), "--engine", engine, "--patience", str(patience),
        "--arguments", json.dumps(dict(setup.arguments)),
    ]  # fmt: skip
    # A session of its own: Ctrl+C in napari's terminal is napari's business.
    options: dict[str, Any] = (
        {"start_new_session": True}
        if os.name == "posix"
        else {"creationflags": getattr(subprocess, "CREATE_NO_WINDOW", 0)}
    )
    with log.open("wb") as errors:
        return subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors,
            env=os.environ | dict(setup.environment), **options,
        )  # fmt: skip


def _call(callback: Callable[[Any], None], value: Any) -> None:
    try:
        callback(value)
    except Exception:
        _log.exception("a callback of a run failed")

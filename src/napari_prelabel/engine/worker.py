"""Inside the worker process: the engine with its loaded models, and the task of a request."""

import contextlib
import importlib
import os
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import psutil
from distributed import Worker, WorkerPlugin, get_worker

from ..values.errors import PrelabelError, RunFailed
from ..values.job import Job, Progress
from ..values.steps import Followed
from . import wire

PLUGIN = "prelabel-engine"
TOPIC = "prelabel-progress"
NICENESS = 5
# Seconds between two messages of one stage: a person sees no more, and a window stays idle.
PACE = 0.1


class EnginePlugin(WorkerPlugin):  # type: ignore[misc]
    """Holds the engine, so that models stay loaded between runs; made anew after a crash.

    engine : "module:name" of a callable that returns an engine; imported with the first task,
        never before the process is up.
    arguments : keyword arguments that it is called with.
    """

    name = PLUGIN

    def __init__(self, engine: str, arguments: dict[str, Any]) -> None:
        self._factory = engine
        self._arguments = arguments
        self._engine: Any = None
        self._stopped: set[int] = set()

    def setup(self, worker: Worker) -> None:
        del worker
        # A window that shares two cores with torch stays alive only if it goes first.
        with contextlib.suppress(OSError, AttributeError, psutil.Error):
            if os.name == "posix":
                os.nice(NICENESS)
            else:
                psutil.Process().nice(psutil.BELOW_NORMAL_PRIORITY_CLASS)

    @property
    def engine(self) -> Any:
        if self._engine is None:
            module, _, name = self._factory.partition(":")
            self._engine = getattr(importlib.import_module(module), name)(**self._arguments)
        return self._engine

    def stop(self, generation: int) -> None:
        """End a run at its next batch of windows."""
        self._stopped.add(generation)

    def run(
        self, generation: int, job: Job | None, path: Path, report: Callable[[Progress], None]
    ) -> tuple[Path, dict[str, Any] | None]:
        """Run a request to its end; returns the file of the answer and the rest of a label map.

        job : to run on the pixels in `path`, or None where the file holds a task of its own.
        """

        def cancelled() -> bool:
            return generation in self._stopped

        steps: Followed[Progress, Any]
        if job is not None:
            steps = Followed(self.engine.run(job, wire.load_image(path), cancelled=cancelled))
        else:
            steps = Followed(self.engine.do(wire.load_object(path), cancelled=cancelled))
        for step in steps:
            report(step)
        answer = answer_path(path)
        if job is not None:
            return answer, wire.save_labels(answer, steps.result)
        wire.save_object(answer, steps.result)
        return answer, None


def answer_path(path: Path) -> Path:
    """Where the answer to a request lies: beside what it was made from."""
    return path.with_suffix(".answer")


class _Pacer:
    """Passes on the first step of a stage, then at most one step each PACE seconds."""

    def __init__(self, send: Callable[[dict[str, Any]], None], generation: int) -> None:
        self._send = send
        self._generation = generation
        self._stage = ""
        self._at = 0.0

    def __call__(self, progress: Progress) -> None:
        now = time.monotonic()
        if progress.stage == self._stage and now - self._at < PACE:
            return
        self._stage, self._at = progress.stage, now
        self._send({"generation": self._generation, "progress": asdict(progress)})


def _plugin() -> tuple[Worker, EnginePlugin]:
    worker = get_worker()
    return worker, worker.plugins[PLUGIN]


def warm() -> dict[str, Any]:
    """Import and build the engine ahead of the first run; returns what a person may see of it."""
    _, plugin = _plugin()
    return {"pid": os.getpid(), "device": str(getattr(plugin.engine, "device", "cpu"))}


def run(generation: int, job: Job | None, path: Path) -> tuple[str, Any]:
    """Task of one request: ("done", (path, rest)) or ("failed", one of our errors)."""
    worker, plugin = _plugin()
    report = _Pacer(lambda message: worker.log_event(TOPIC, message), generation)
    try:
        return "done", plugin.run(generation, job, path, report)
    except PrelabelError as error:
        return "failed", error
    except Exception as error:
        cause = f"{type(error).__name__}: {error}"
        return "failed", RunFailed(cause, traceback.format_exc())


def stop(generation: int, dask_worker: Worker) -> None:
    """Told on the event loop while a task runs in its thread."""
    dask_worker.plugins[PLUGIN].stop(generation)

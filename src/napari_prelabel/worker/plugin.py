"""Inside the worker process: the engine with its loaded models, and what it is asked to do.

Requests come as messages of their own rather than as dask tasks: a task of nothing takes as long
as a whole request does here (docs/architecture.md#the-worker).
"""

import asyncio
import contextlib
import importlib
import os
import time
import traceback
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from typing import Any

import psutil
from distributed import Worker, WorkerPlugin
from distributed.protocol import to_serialize

from ..values.errors import Cancelled, PrelabelError, RunFailed
from ..values.job import Progress
from ..values.steps import Followed

NICENESS = 5
# Seconds between two messages of one stage: a person sees no more, and a window stays idle.
PACE = 0.1


class EnginePlugin(WorkerPlugin):  # type: ignore[misc]
    """Holds the engine, so that models stay loaded between runs; made anew after a crash.

    engine : "module:name" of a callable that returns an engine; imported with the first request,
        never before the process is up.
    arguments : keyword arguments that it is called with.
    """

    name = "prelabel-engine"

    def __init__(self, engine: str, arguments: dict[str, Any]) -> None:
        self._factory = engine
        self._arguments = arguments

    def setup(self, worker: Worker) -> None:
        self._worker = worker
        self._engine: Any = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="prelabel-engine")
        self._waiting: dict[str, Future[Any]] = {}
        self._running = ""
        self._stopped: set[str] = set()
        worker.handlers |= {
            "prelabel_warm": self.warm, "prelabel_run": self.run, "prelabel_stop": self.stop,
        }  # fmt: skip
        worker.stream_handlers["prelabel_leave"] = self.leave
        # A window that shares two cores with torch stays alive only if it goes first.
        with contextlib.suppress(OSError, AttributeError, psutil.Error):
            if os.name == "posix":
                os.nice(NICENESS)
            else:
                psutil.Process().nice(psutil.BELOW_NORMAL_PRIORITY_CLASS)

    @property
    def engine(self) -> Any:
        """Made in the one thread that it works in."""
        if self._engine is None:
            module, _, name = self._factory.partition(":")
            self._engine = getattr(importlib.import_module(module), name)(**self._arguments)
        return self._engine

    async def warm(self) -> dict[str, Any]:
        """Build the engine ahead of the first run; returns what a person may see of it."""
        loop = asyncio.get_running_loop()
        device = await loop.run_in_executor(
            self._thread, lambda: str(getattr(self.engine, "device", "cpu"))
        )
        return {"pid": os.getpid(), "device": device}

    async def run(self, key: str, topic: str, request: Any, image: Any) -> Any:
        """Do a request in its turn: the answer, or one of our errors.

        image : what to run a job on, or None where the request is a task of its own.
        """
        work = self._thread.submit(self._work, key, topic, request, image)
        self._waiting[key] = work
        try:
            return to_serialize(await asyncio.wrap_future(work))
        except asyncio.CancelledError:
            return to_serialize(Cancelled())
        finally:
            del self._waiting[key]
            self._stopped.discard(key)

    async def stop(self, key: str) -> bool:
        """End a request at its next batch of windows, or before it begins; whether it runs."""
        if key in self._waiting:
            self._stopped.add(key)
            self._waiting[key].cancel()
        return self._running == key

    def leave(self, owner: str) -> None:
        """End what a client asked for that has gone."""
        for key in [k for k in self._waiting if k.startswith(owner)]:
            self._stopped.add(key)
            self._waiting[key].cancel()

    def _work(self, key: str, topic: str, request: Any, image: Any) -> Any:
        self._running = key
        report = _Pacer(lambda message: self._worker.log_event(topic, message), key)

        def cancelled() -> bool:
            return key in self._stopped

        try:
            steps: Followed[Progress, Any] = Followed(
                self.engine.do(request, cancelled=cancelled)
                if image is None
                else self.engine.run(request, image, cancelled=cancelled)
            )
            for step in steps:
                report(step)
            return steps.result
        except PrelabelError as error:
            return error
        except Exception as error:
            cause = f"{type(error).__name__}: {error}"
            return RunFailed(cause, traceback.format_exc())
        finally:
            self._running = ""


class _Pacer:
    """Passes on the first step of a stage, then at most one step each PACE seconds."""

    def __init__(self, send: Callable[[dict[str, Any]], None], key: str) -> None:
        self._send = send
        self._key = key
        self._stage = ""
        self._at = 0.0

    def __call__(self, progress: Progress) -> None:
        now = time.monotonic()
        if progress.stage == self._stage and now - self._at < PACE:
            return
        self._stage, self._at = progress.stage, now
        self._send({"key": self._key, "progress": asdict(progress)})


def kill_worker(dask_worker: Any) -> None:
    """In the process of its nanny, which starts another one unless it is closing."""
    with contextlib.suppress(psutil.Error):
        psutil.Process(dask_worker.pid).kill()

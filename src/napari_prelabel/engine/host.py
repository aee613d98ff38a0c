"""The process beside napari: starts the worker, guards it, and passes messages both ways.

Started by `pool.py` with `python -m`, never by multiprocessing, which would run a person's
unguarded script again and open a second window. It ends as soon as its stdin closes.
"""

import argparse
import asyncio
import contextlib
import json
import logging
import os
import queue
import shutil
import sys
import threading
import time
from pathlib import Path
from typing import Any, BinaryIO

from ..values.errors import RunFailed
from . import wire

_log = logging.getLogger(__name__)

# Written here rather than in a file of settings: a person's own dask settings must not matter.
_SETTINGS: dict[str, Any] = {
    "distributed.scheduler.allowed-failures": 0,
    "distributed.scheduler.worker-ttl": None,
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    "distributed.worker.memory.terminate": False,
    "distributed.worker.profile.enabled": False,
    # dask would hold torch to one thread.
    "distributed.nanny.pre-spawn-environ": {},
}


class Host:
    """One worker, one request at a time; the others wait in the order they came."""

    def __init__(
        self,
        folder: Path,
        engine: str,
        patience: float,
        outbox: "Outbox",
        arguments: dict[str, Any] | None = None,
    ) -> None:
        """arguments : keyword arguments of the engine."""
        self._folder = folder
        self._engine = engine, arguments or {}
        self._patience = patience
        self._outbox = outbox
        self._waiting: dict[int, tuple[Any, Path]] = {}
        self._running = 0
        self._wake = asyncio.Event()
        self._cancelled = asyncio.Event()

    async def serve(self) -> None:
        """Start the worker, then run jobs until the process ends."""
        import dask
        from distributed import Client, LocalCluster, Security

        from . import worker

        with dask.config.set(_SETTINGS):
            security = Security.temporary()
            async with LocalCluster(
                n_workers=1, threads_per_worker=1, processes=True, memory_limit=None,
                host="127.0.0.1", protocol="tls://", security=security, dashboard_address=None,
                local_directory=str(self._folder), silence_logs=logging.WARNING,
                asynchronous=True,
            ) as self._cluster, Client(
                self._cluster, security=security, asynchronous=True
            ) as self._client:  # fmt: skip
                await self._client.register_plugin(worker.EnginePlugin(*self._engine))
                self._client.subscribe_topic(worker.TOPIC, self._on_event)
                self._outbox.put("hello", os.getpid())
                await self._warm()
                while True:
                    await self._next()

    def take(self, message: tuple[Any, ...]) -> None:
        """Handle a message from napari's process; called on the event loop."""
        kind, generation, *rest = message
        if kind == "run":
            self._waiting[generation] = (rest[0], rest[1])
            self._wake.set()
        elif generation in self._waiting:
            _, path = self._waiting.pop(generation)
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
        elif generation == self._running:
            self._cancelled.set()

    async def _next(self) -> None:
        await self._wake.wait()
        self._wake.clear()
        while self._waiting:
            generation = next(iter(self._waiting))
            request, path = self._waiting.pop(generation)
            self._running = generation
            self._cancelled.clear()
            try:
                await self._run(generation, request, path)
            finally:
                self._running = 0
                with contextlib.suppress(OSError):
                    path.unlink(missing_ok=True)

    async def _run(self, generation: int, request: Any, path: Path) -> None:
        from distributed import KilledWorker

        from . import worker

        future = self._client.submit(
            worker.run, generation, request, path, key=f"run-{generation}", pure=False, retries=0
        )
        guard = asyncio.ensure_future(self._guard(generation, future))
        try:
            kind, value = await future
            self._outbox.put(kind, generation, value)
        except KilledWorker:
            with contextlib.suppress(OSError):
                worker.answer_path(path).unlink(missing_ok=True)
            self._outbox.put("died", generation)
            await self._warm()
        finally:
            guard.cancel()

    async def _guard(self, generation: int, future: Any) -> None:
        """Ask a cancelled run to stop; end its process if it does not listen."""
        from . import worker

        await self._cancelled.wait()
        await self._client.run(worker.stop, generation)
        await asyncio.sleep(self._patience)
        if not future.done():
            _log.warning("run %d did not stop within %g s: restarting", generation, self._patience)
            self._kill_worker()

    def _kill_worker(self) -> None:
        import psutil

        for nanny in self._cluster.workers.values():
            with contextlib.suppress(psutil.Error):
                psutil.Process(nanny.pid).kill()

    async def _warm(self) -> None:
        from . import worker

        try:
            info = await self._client.submit(worker.warm, pure=False, retries=0)
            self._outbox.put("worker", info)
        except Exception:
            # The run that needs the engine meets the same error and tells it to the person.
            _log.exception("the engine could not be loaded ahead")

    def _on_event(self, event: tuple[float, dict[str, Any]]) -> None:
        message = event[1]
        self._outbox.put("progress", message["generation"], message["progress"])


class Outbox:
    """Writes messages to napari's process; a thread of its own, so that no one waits for it."""

    def __init__(self, stream: BinaryIO) -> None:
        self._queue: queue.SimpleQueue[tuple[Any, ...]] = queue.SimpleQueue()
        self._stream = stream
        threading.Thread(target=self._write, daemon=True).start()

    def put(self, *message: Any) -> None:
        self._queue.put(message)

    def _write(self) -> None:
        while True:
            message = self._queue.get()
            try:
                wire.send(self._stream, message)
            except (OSError, ValueError):
                return
            except Exception as error:
                _log.exception("a message of kind %s cannot be sent", message[0])
                if message[0] in ("failed", "done"):
                    cause = f"{type(error).__name__}: {error}"
                    self.put("failed", message[1], RunFailed(cause))


def claim_pipes() -> tuple[BinaryIO, BinaryIO]:
    """Keep stdin and stdout for our messages; prints of libraries go to stderr from now on."""
    messages_in, messages_out = os.dup(0), os.dup(1)
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    os.dup2(2, 1)
    return os.fdopen(messages_in, "rb"), os.fdopen(messages_out, "wb")


def _read(stream: BinaryIO, loop: asyncio.AbstractEventLoop, host: Host, folder: Path) -> None:
    try:
        while True:
            loop.call_soon_threadsafe(host.take, wire.receive(stream))
    except (EOFError, OSError):
        end(folder)


def _watch_parent(folder: Path) -> None:
    """A fork of napari's process may hold our stdin open after napari's death."""
    parent = os.getppid()
    while os.getppid() == parent:
        time.sleep(1)
    end(folder)


def end(folder: Path) -> None:
    """Leave at once and take every child along; nothing here is worth waiting for."""
    import psutil

    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            child.kill()
    shutil.rmtree(folder, ignore_errors=True)
    os._exit(0)


async def _main(stream: BinaryIO, outbox: Outbox, options: argparse.Namespace) -> None:
    arguments = json.loads(options.arguments)
    host = Host(options.folder, options.engine, options.patience, outbox, arguments)
    loop = asyncio.get_running_loop()
    threading.Thread(target=_read, args=(stream, loop, host, options.folder), daemon=True).start()
    if os.name == "posix":
        threading.Thread(target=_watch_parent, args=(options.folder,), daemon=True).start()
    await host.serve()


def main() -> None:
    """Entry point of the process; arguments come from pool.py alone."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--engine", required=True)
    parser.add_argument("--patience", type=float, required=True)
    parser.add_argument("--arguments", required=True)
    options = parser.parse_args()
    stream, out = claim_pipes()
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING)
    asyncio.run(_main(stream, Outbox(out), options))


if __name__ == "__main__":
    main()

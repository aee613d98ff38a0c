"""The other side: a scheduler that clients find, and workers that their nannies start again."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dask
from distributed import Nanny, Scheduler, SchedulerPlugin, Status, Worker

from .credentials import Credentials
from .plugin import EnginePlugin, kill_worker
from .versions import versions

# Written here rather than in a file of settings: a person's own dask settings must not matter.
_SETTINGS: dict[str, Any] = {
    "distributed.scheduler.worker-ttl": None,
    "distributed.scheduler.http.routes": [],
    "distributed.worker.http.routes": [],
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    "distributed.worker.memory.terminate": False,
    "distributed.worker.profile.enabled": False,
    # dask would hold torch to one thread.
    "distributed.nanny.pre-spawn-environ": {},
}


class _Silent:
    """dask's servers listen for HTTP in the clear, dashboard or not; these do not."""

    def start_http_server(self, *_args: Any, **_options: Any) -> None:
        """Listen to nothing."""


class _Scheduler(_Silent, Scheduler):  # type: ignore[misc]
    pass


class _Worker(_Silent, Worker):  # type: ignore[misc]
    pass


class Doorman(SchedulerPlugin):  # type: ignore[misc]
    """Tells a client which versions are here and which worker is its own."""

    name = "prelabel-doorman"

    async def start(self, scheduler: Any) -> None:
        self._scheduler = scheduler
        self._places: dict[str, Any] = {}
        self._come = asyncio.Condition()
        scheduler.handlers |= {"prelabel_hello": self.hello, "prelabel_place": self.place}

    async def hello(self) -> dict[str, str]:
        """Versions of this side."""
        return versions()

    async def place(self, client: str, dead: str) -> str:
        """Address of a client's worker: the same as before, while it lives, for what it keeps.

        dead : the address of one that the client found dead, perhaps before we did.
        """
        async with self._come:
            await self._come.wait_for(lambda: self._free(client, dead))
            worker = self._free(client, dead)
        assert worker is not None
        self._places[client] = worker.name
        return str(worker.address)

    def _free(self, client: str, dead: str) -> Any:
        """The worker of a client, or the one with the fewest clients, or None where none is up."""
        workers = [w for w in self._scheduler.workers.values() if w.address != dead]
        taken = [name for other, name in self._places.items() if other != client]
        workers.sort(key=lambda w: (w.name != self._places.get(client), taken.count(w.name)))
        return workers[0] if workers else None

    async def add_worker(self, scheduler: Any, worker: str) -> None:
        """A worker is up, perhaps again."""
        del scheduler, worker
        async with self._come:
            self._come.notify_all()

    def remove_client(self, scheduler: Any, client: str) -> None:
        """A client has gone: nobody waits for what it asked."""
        self._places.pop(client, None)
        for worker in scheduler.workers:  # by the stream that is open: it waits for nobody
            scheduler.worker_send(worker, {"op": "prelabel_leave", "owner": client})


@dataclass(frozen=True, slots=True)
class Crew:
    """What to start.

    engine, arguments : as of EnginePlugin. folder : for the workers' own files.
    environments : of each worker, what its environment has beside this process's.
    """

    engine: str
    folder: Path
    arguments: Mapping[str, Any] = field(default_factory=dict)
    environments: Sequence[Mapping[str, str]] = ({},)


@contextlib.asynccontextmanager
async def cluster(
    crew: Crew, credentials: Credentials, host: str = "127.0.0.1", port: int = 0
) -> AsyncIterator[str]:
    """Start a scheduler at an address and its workers on loopback; gives "tls://host:port".

    Raises OSError where the address cannot be taken.
    """
    logging.getLogger("distributed").setLevel(logging.WARNING)
    security = credentials.security()
    with dask.config.set(_SETTINGS):
        async with contextlib.AsyncExitStack() as stack:
            made = _Scheduler(
                host=host, port=port, protocol="tls://", security=security, dashboard=False,
                plugins=(Doorman(),),
            )  # fmt: skip
            scheduler = await stack.enter_async_context(made)
            common: dict[str, Any] = {
                "scheduler_ip": scheduler.address, "security": security, "host": "127.0.0.1",
                "nthreads": 1, "memory_limit": None, "local_directory": str(crew.folder),
                "silence_logs": logging.WARNING, "worker_class": _Worker,
                "plugins": (EnginePlugin(crew.engine, dict(crew.arguments)),),
            }  # fmt: skip
            nannies = [
                Nanny(name=str(number), env=dict(environment), **common)
                for number, environment in enumerate(crew.environments)
            ]
            await asyncio.gather(*(stack.enter_async_context(nanny) for nanny in nannies))
            try:
                yield str(scheduler.address)
            finally:
                # Clients first: to them it is the server that goes, not a worker that dies. A
                # worker that misses its scheduler ends, and its nanny would start another.
                for nanny in nannies:
                    nanny.status = Status.closing_gracefully
                await scheduler.close()
                for nanny in nannies:
                    kill_worker(nanny)

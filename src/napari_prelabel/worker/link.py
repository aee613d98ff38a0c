"""What is asked of a worker through a dask client; the same for one here and one elsewhere."""

import asyncio
import contextlib
import importlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..values.errors import ConnectionLost, WorkerDied
from ..values.job import Progress
from .credentials import Credentials

_log = logging.getLogger(__name__)

# Seconds a scheduler has to say that it is still there, and between two looks whether it is.
_ANSWER, _LOOK = 3.0, 0.5


@dataclass(frozen=True, slots=True)
class Site:
    """Where a scheduler listens.

    address : "tls://host:port".
    near : whether its workers are reached from here; otherwise pixels pass through the scheduler,
        whose port is the only one that a firewall or a tunnel must let through.
    """

    address: str
    credentials: Credentials
    near: bool = False


class Link:
    """A connection to the one worker that a scheduler gives a client; lives in one event loop.

    on_progress : called with the number of a request and its Progress.
    patience : seconds a stopped request has to end before its worker is replaced.
    """

    def __init__(
        self, place: Site, patience: float, on_progress: Callable[[int, Progress], None]
    ) -> None:
        self.place = place
        self.worker: dict[str, Any] = {}
        self._patience = patience
        self._on_progress = on_progress
        self._client: Any = None
        self._stop = asyncio.Event()
        self._running = self._topic = self._dead = ""

    @property
    def lost(self) -> bool:
        """Whether there is no connection, or none any more."""
        return self._client is None or self._client.status != "running"

    async def open(self, seconds: float) -> None:
        """Connect; raises NotConnected, after `seconds` where nobody answers."""
        late = await asyncio.to_thread(importlib.import_module, f"{__package__}.client")
        self._client = await late.connect(self.place.address, self.place.credentials, seconds)
        self._topic = f"prelabel {self._client.id}"
        self._client.subscribe_topic(self._topic, self._heard)

    async def close(self) -> None:
        """Leave; what runs for this client is stopped there."""
        client, self._client = self._client, None
        if client is not None:
            with contextlib.suppress(Exception):
                await client.close(_ANSWER)

    async def warm(self) -> None:
        """Have the engine built, and learn where it computes; raises what building it raises."""
        self.worker = {}
        self.worker = await self._ask(await self._place(), "prelabel_warm")

    async def run(self, number: int, request: Any, image: Any) -> Any:
        """Have a request done: the answer, or an error of ours.

        image : what to run a job on, None for a task.

        Raises WorkerDied when its process ends, ConnectionLost when the scheduler does.
        """
        self._stop.clear()
        self._running = f"{self._client.id} {number}"
        asked = [asyncio.ensure_future(self._request(request, image)),
                 asyncio.ensure_future(self._watch())]  # fmt: skip
        try:
            (first, *_), _ = await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
            return first.result()
        except OSError as error:
            raise await self._death() from error
        finally:
            self._running = ""
            for task in asked:
                task.cancel()

    def stop(self) -> None:
        """Have the running request end at its next batch of windows."""
        self._stop.set()

    async def _request(self, request: Any, image: Any) -> Any:
        from distributed.protocol import to_serialize

        key, at = self._running, await self._place()
        guard = asyncio.ensure_future(self._guard(key, at))
        try:
            return await self._ask(
                at, "prelabel_run", key=key, topic=self._topic,
                request=to_serialize(request), image=to_serialize(image),
            )  # fmt: skip
        except OSError:
            self._dead = at
            raise
        finally:
            guard.cancel()

    async def _watch(self) -> Any:
        """Raise OSError once the scheduler has gone, of which a half-open connection tells none."""
        while not self.lost:
            await asyncio.sleep(_LOOK)
        raise ConnectionAbortedError

    async def _place(self) -> str:
        ask = self._client.scheduler.prelabel_place
        return str(await ask(client=self._client.id, dead=self._dead))

    async def _ask(self, at: str, op: str, **message: Any) -> Any:
        if self.place.near:
            return await getattr(self._client.rpc(at), op)(**message)
        return await self._client.scheduler.proxy(worker=at, msg={"op": op, **message})

    async def _guard(self, key: str, at: str) -> None:
        """Ask a stopped request to end; end its process if it does not listen."""
        from .plugin import kill_worker

        await self._stop.wait()
        with contextlib.suppress(OSError):
            if await self._ask(at, "prelabel_stop", key=key):
                await asyncio.sleep(self._patience)
                _log.warning("a run did not stop within %g s: restarting", self._patience)
                await self._client.run(kill_worker, workers=[at], nanny=True)

    async def _death(self) -> WorkerDied:
        """Which side of the connection broke."""
        if not self.lost:
            with contextlib.suppress(OSError, TimeoutError):
                await asyncio.wait_for(self._client.scheduler.prelabel_hello(), _ANSWER)
                return WorkerDied()
        return ConnectionLost(self.place.address)

    def _heard(self, event: tuple[float, dict[str, Any]]) -> None:
        message = event[1]
        if message["key"] == self._running:
            number = int(self._running.rpartition(" ")[2])
            self._on_progress(number, Progress(**message["progress"]))

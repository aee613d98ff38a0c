"""A worker where it is wanted: a link to it and, on this machine, the process that guards it."""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from ..values.errors import ConnectionLost, NotConnected, WorkerDied, WorkerNotStarted
from ..values.job import Progress
from .credentials import Credentials
from .link import Link, Site
from .local import LocalHost, Setup

_log = logging.getLogger(__name__)

# Seconds a server elsewhere has to answer, and a process that closed its pipe to end.
_ANSWER, _PARTING = 5.0, 3.0
PORT = 8786


@dataclass(frozen=True, slots=True)
class Where:
    """Of `Pool`: at an address with a folder of certificates, or here with a setup."""

    address: str | None = None
    credentials: Path | None = None
    setup: Setup = field(default_factory=Setup)


@dataclass(frozen=True, slots=True)
class Terms:
    """engine, start_timeout, patience : as of Pool. on_progress : as of Link."""

    engine: str
    start_timeout: float
    patience: float
    on_progress: Callable[[int, Progress], None]


class Connection:
    """One worker of one pool, from its start to its end; lives in the pool's event loop."""

    def __init__(self, where: Where, terms: Terms) -> None:
        self.where = where
        self._terms = terms
        self._host: LocalHost | None = None
        self._link: Link | None = None

    @property
    def alive(self) -> bool:
        """Whether it can be asked."""
        here = self._host is None or self._host.alive
        return here and self._link is not None and not self._link.lost

    @property
    def worker(self) -> dict[str, Any]:
        """What the worker said of itself; empty until it has."""
        return self._link.worker if self._link is not None and self.alive else {}

    async def open(self) -> None:
        """Start the worker or connect to it; raises WorkerNotStarted or NotConnected."""
        place = await (self._there() if self.where.address else self._here())
        self._link = Link(place, self._terms.patience, self._terms.on_progress)
        await self._link.open(_ANSWER if self.where.address else self._terms.start_timeout)
        await self.warm()

    async def warm(self) -> None:
        """Have the models' libraries loaded ahead of a run, which tells what goes wrong there."""
        assert self._link is not None
        try:
            await self._link.warm()
        except Exception:
            _log.info("the engine could not be loaded ahead", exc_info=True)

    async def run(self, number: int, request: Any, image: Any) -> Any:
        """As of Link."""
        assert self._link is not None
        try:
            return await self._link.run(number, request, image)
        except ConnectionLost:
            if self._host is None:
                raise
            raise WorkerDied(await asyncio.to_thread(self._host.epitaph, _PARTING)) from None

    def stop(self) -> None:
        """As of Link."""
        if self._link is not None:
            self._link.stop()

    def memory(self) -> int:
        """Bytes that a worker on this machine occupies, 0 while it is not up."""
        pid = None if self._host is None else self.worker.get("pid")
        try:
            return int(psutil.Process(pid).memory_info().rss) if pid else 0
        except psutil.Error:
            return 0

    async def close(self) -> None:
        """Leave the worker; one on this machine ends, and its files go."""
        if self._link is not None:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._link.close(), _PARTING)
        if self._host is not None:
            try:
                await asyncio.to_thread(self._host.close)
            except RuntimeError:  # the interpreter is ending and makes no threads any more
                self._host.close()

    async def _here(self) -> Site:
        try:
            self._host = LocalHost(self._terms.engine, self.where.setup)
        except OSError as error:
            raise WorkerNotStarted(f"{error.strerror or error}.") from error
        return await self._host.place(self._terms.start_timeout)

    async def _there(self) -> Site:
        address = full_address(self.where.address or "")
        if self.where.credentials is None:
            raise NotConnected(
                address, "it needs the folder that its 'prelabel serve --tls' made: name it here."
            )
        return Site(address, Credentials.read(self.where.credentials))


def full_address(text: str) -> str:
    """ "host" or "tls://host:port" -> "tls://host:port"; raises NotConnected for another one."""
    scheme, _, rest = text.strip().rpartition("://")
    host, colon, port = rest.rpartition(":")
    if not colon:
        host, port = rest, str(PORT)
    if scheme not in ("", "tls") or not host or not port.isdecimal() or int(port) > 65535:
        raise NotConnected(text, "an address reads tls://host:port.")
    return f"tls://{host}:{port}"

"""`prelabel serve`: a scheduler and its workers for clients in other processes and machines."""

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ..values.errors import WorkerNotStarted
from .connection import full_address
from .credentials import of_folder
from .pool import ENGINE

_CARDS = "CUDA_VISIBLE_DEVICES"


def serve(
    tls: Path,
    address: str,
    workers: int | None = None,
    arguments: Mapping[str, Any] | None = None,
    *,
    engine: str = ENGINE,
    told: Callable[[str], None] = print,
) -> None:
    """Serve until the process is interrupted or terminated.

    tls : folder of the certificate, made where it holds none; clients need a copy.
    address : to listen at, as full_address reads it.
    workers : how many, each on a graphics card of its own where there are any; None for one on
        each card, or one.
    arguments, engine : as of the pool's.
    told : called with "tls://host:port" once clients may connect.

    Raises NotConnected for another address, WorkerNotStarted where it cannot be taken, and
    FileFormatError where the folder cannot be.
    """
    host, _, port = full_address(address).removeprefix("tls://").rpartition(":")
    credentials = of_folder(tls)
    environments = list(_environments(workers, _cards()))

    async def until_told() -> None:
        from .cluster import Crew, cluster

        end = asyncio.Event()
        with tempfile.TemporaryDirectory(prefix="prelabel-") as folder, _ending(end):
            crew = Crew(engine, Path(folder), arguments or {}, environments)
            async with cluster(crew, credentials, host, int(port)) as taken:
                told(taken)
                await end.wait()

    _try(host, int(port))
    asyncio.run(until_told())


def _try(host: str, port: int) -> None:
    """Raise WorkerNotStarted where an address cannot be listened at; dask would leave a socket."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.create_server((host, port), family=family).close()
    except OSError as error:
        raise WorkerNotStarted(f"{host}:{port} cannot be listened at ({error}).") from error


@contextlib.contextmanager
def _ending(end: asyncio.Event) -> Iterator[None]:
    """Set the event at Ctrl+C or a signal to end, so that every process is taken along."""
    loop = asyncio.get_running_loop()
    signals = (signal.SIGINT, signal.SIGTERM) if os.name == "posix" else ()
    for number in signals:
        loop.add_signal_handler(number, end.set)
    try:
        yield
    finally:
        for number in signals:
            loop.remove_signal_handler(number)


def _cards() -> list[str]:
    """Names of the NVIDIA cards that may be used, as CUDA_VISIBLE_DEVICES takes them."""
    if _CARDS in os.environ:
        return [name for name in os.environ[_CARDS].split(",") if name]
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return []
    asked = subprocess.run([tool, "--list-gpus"], capture_output=True, text=True)
    count = len(asked.stdout.splitlines()) if asked.returncode == 0 else 0
    return [str(number) for number in range(count)]


def _environments(workers: int | None, cards: list[str]) -> Iterator[dict[str, str]]:
    """What the environment of each worker has beside this one: its card, where there are any."""
    for number in range(workers or len(cards) or 1):
        yield {_CARDS: cards[number % len(cards)]} if cards else {}

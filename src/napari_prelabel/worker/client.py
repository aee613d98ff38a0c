"""What of a connection needs distributed; imported late, and off the window's thread."""

import asyncio
import ssl
from typing import Any

from distributed import Client, rpc

from ..values.errors import NotConnected
from .credentials import Credentials
from .versions import difference


class OneConnection(Client):  # type: ignore[misc]
    """A client that ends with its connection: whoever holds it says so, and makes another."""

    async def _reconnect(self) -> None:
        await self._close()


async def connect(address: str, credentials: Credentials, seconds: float) -> Any:
    """A client of the scheduler at "tls://host:port"; raises NotConnected.

    seconds : until it is given up where nobody answers.
    """
    security = credentials.security()
    try:
        await _compare(address, security, seconds)
        return await OneConnection(
            address, security=security, asynchronous=True, set_as_default=False,
            timeout=seconds, name="prelabel",
        )  # fmt: skip
    except (OSError, TimeoutError) as error:
        raise NotConnected(address, _reason(error)) from error


async def _compare(address: str, security: Any, seconds: float) -> None:
    """Raise NotConnected where the other side is not ours, or not the same as this one."""
    arguments = security.get_connection_args("client")
    async with rpc(address, timeout=seconds, connection_args=arguments) as scheduler:
        there = await asyncio.wait_for(scheduler.prelabel_hello(), seconds)
    if not there:
        raise NotConnected(
            address, "a dask scheduler answers there, but not that of 'prelabel serve'."
        )
    if unlike := difference(there):
        raise NotConnected(
            address, f"it has {unlike}: install the same on both sides and start it again."
        )


def _reason(error: BaseException) -> str:
    """Why a connection failed, from the errors beneath it."""
    below: BaseException | None = error
    while below is not None:
        if isinstance(below, ssl.SSLError):
            why = getattr(below, "verify_message", "") or below.reason or "TLS"
            return (
                f"it does not know our certificate ({why}): copy the folder of its --tls once more."
            )
        below = below.__cause__ or below.__context__
    return "nobody answers there: see whether 'prelabel serve' runs and its port is let through."

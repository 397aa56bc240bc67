"""A gateway's connection to NATS. Unlike a service it outlives a lost connection: it goes on serving what it has."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

import nats
from nats.aio.client import Client
from nats.errors import Error as NatsError

from libs.common.errors import KtError

CONNECT_TIMEOUT_S: Final = 10.0

Callback = Callable[[], Awaitable[None]]


class Connect(Protocol):
    async def __call__(
        self,
        url: str,
        *,
        jwt: Callable[[], str],
        sign: Callable[[str], bytes],
        inbox_prefix: str,
        name: str,
        on_reconnected: Callback,
        on_closed: Callback,
        on_error: Callable[[Exception], Awaitable[None]],
    ) -> Client:
        """A connected client. ``jwt`` is asked again before every reconnect."""


async def connect(
    url: str,
    *,
    jwt: Callable[[], str],
    sign: Callable[[str], bytes],
    inbox_prefix: str,
    name: str,
    on_reconnected: Callback,
    on_closed: Callback,
    on_error: Callable[[Exception], Awaitable[None]],
) -> Client:
    """Raises: KtError ``unreachable``."""
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            return await nats.connect(
                url,
                user_jwt_cb=lambda: bytearray(jwt().encode()),
                signature_cb=sign,
                inbox_prefix=inbox_prefix.encode(),
                name=name,
                reconnected_cb=on_reconnected,
                closed_cb=on_closed,
                error_cb=on_error,
                max_reconnect_attempts=-1,
                reconnect_time_wait=0.2,
                connect_timeout=2,
                ping_interval=10,
                max_outstanding_pings=2,
                allow_reconnect=True,
            )
    except (NatsError, OSError, TimeoutError) as error:
        raise KtError(
            "unreachable", f"The message bus can't be reached ({type(error).__name__}).", "Is the system running?"
        ) from None

"""One way to connect to NATS, with the guards that nats-py leaves to its user."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from typing import Any, Final

from libs.common.errors import KtError

log = logging.getLogger(__name__)

CONNECT_TIMEOUT_S: Final = 30.0
"""How long a process waits at start for a server that is still starting."""

REQUEST_TIMEOUT_S: Final = 5.0

WITHIN_REQUEST_TIMEOUT_S: Final = 3.0
"""For what a service asks while it is being asked: its caller still gets to hear what went wrong."""


@dataclass(slots=True)
class ConnectionGuard:
    """Callbacks for a connection. ``closed`` is set when it is lost for good: the process then has to end,
    because a closed nats-py connection never recovers and its pull subscribers freeze the event loop."""

    closed: asyncio.Event = field(default_factory=asyncio.Event)

    async def on_error(self, error: Exception) -> None:
        # Permission violations show up only here; the call itself merely times out.
        log.warning("nats.error", extra={"kind": type(error).__name__, "reason": str(error)})

    async def on_closed(self) -> None:
        self.closed.set()

    async def until_lost(self) -> None:
        """
        Raises:
            KtError: ``unavailable``, once the connection is lost for good.
        """
        await self.closed.wait()
        raise KtError("unavailable", "The connection to the message bus was lost for good; restarting.")

    async def on_disconnected(self) -> None:
        log.warning("nats.disconnected")

    async def on_reconnected(self) -> None:
        log.info("nats.reconnected")


def service_inbox(service: str) -> str:
    """The private inbox prefix of a service; no other identity may subscribe to it."""
    return f"_INBOX.svc.{service}"


def connect_options(service: str, guard: ConnectionGuard) -> dict[str, Any]:
    """How a service connects, besides its credentials; for ``nats.connect`` and FastStream's ``NatsBroker`` alike."""
    return {
        "inbox_prefix": service_inbox(service),
        "name": f"keeptrusts-{service}",
        "error_cb": guard.on_error,
        "closed_cb": guard.on_closed,
        "disconnected_cb": guard.on_disconnected,
        "reconnected_cb": guard.on_reconnected,
        "max_reconnect_attempts": -1,
        "reconnect_time_wait": 0.1,
        "connect_timeout": 2,
        "ping_interval": 10,
        "max_outstanding_pings": 2,
        # Answers may wait for a reconnect. A write may not (ensure_connected): it would be stored after its caller
        # gave up.
        "pending_size": 8 * 1024 * 1024,
    }


def ensure_connected(nc: Any) -> None:
    """Refuse at once instead of buffering: a buffered publish is stored after the reconnect, long after its
    caller was told that it failed.

    Raises:
        KtError: ``unavailable``.
    """
    if not nc.is_connected:
        raise KtError("unavailable", "The message bus can't be reached at the moment.", "Try again in a few seconds.")

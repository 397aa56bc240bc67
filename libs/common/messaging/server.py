"""Serving endpoints with FastStream.

``direct`` endpoints subscribe on the broker's connection without FastStream's per-message machinery, which costs
0.25 ms of CPU (docs/adr/0004-direct-endpoints.md); they share everything else.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

from faststream.exceptions import SkipMessage
from faststream.nats import NatsBroker
from faststream.nats.message import NatsMessage
from faststream.nats.security import NatsCredentials
from nats.aio.client import Client
from nats.aio.msg import Msg

from libs.common.messaging.connection import ConnectionGuard, connect_options, service_inbox
from libs.common.messaging.identities import gateway_inbox
from libs.common.messaging.rpc import MAX_WORKERS, Endpoint, Handler, Rep, Req, answer
from libs.common.subjects import gateway_of

log = logging.getLogger(__name__)

_SERVICE_INBOXES: Final = service_inbox("")


def may_be_answered(subject: str, reply: str) -> bool:
    """Whether ``reply`` is an inbox of those who may ask on ``subject``.

    With ``allow_responses`` the NATS server lets a service publish to whatever reply subject a request names, beyond
    the service's own permissions. Anything but an inbox would let the one who asks have the answer stored as an
    event, or put to another service as a request.
    """
    gateway = gateway_of(subject)
    return reply.startswith(f"{gateway_inbox(*gateway)}." if gateway else _SERVICE_INBOXES)


def _refused(subject: str) -> None:
    log.warning("rpc.reply_subject_refused", extra={"subject": subject})


async def _raw(message: NatsMessage) -> Msg:
    return message.raw_message


def broker_for(service: str, url: str, creds: Path, guard: ConnectionGuard) -> NatsBroker:
    """A broker that is not connected yet. ``apply_types`` is off: endpoints check their messages themselves."""
    return NatsBroker(
        url,
        security=NatsCredentials(str(creds)),
        logger=None,
        apply_types=False,
        **connect_options(service, guard),
    )


class RpcServer:
    """The endpoints of one service. Declare them with :meth:`serve` before the broker starts."""

    def __init__(self, broker: NatsBroker) -> None:
        self._broker = broker
        self._direct: list[tuple[Endpoint[Any, Any], Handler[Any, Any]]] = []
        self._tasks: set[asyncio.Task[None]] = set()

    def serve(self, endpoint: Endpoint[Req, Rep], handler: Handler[Req, Rep], *, direct: bool = False) -> None:
        if direct:
            self._direct.append((endpoint, handler))
            return

        async def handle(message: Msg) -> bytes:
            if not may_be_answered(message.subject, message.reply):
                _refused(message.subject)
                raise SkipMessage
            return await answer(endpoint, handler, message.subject, message.data)

        self._broker.subscriber(
            endpoint.subject,
            queue=endpoint.queue,
            decoder=_raw,
            max_workers=MAX_WORKERS,
            title=endpoint.subject,
            description=endpoint.summary,
        )(handle)

    async def start_direct(self, nc: Client) -> None:
        for endpoint, handler in self._direct:
            await nc.subscribe(endpoint.subject, queue=endpoint.queue, cb=self._spawner(endpoint, handler))

    def _spawner(self, endpoint: Endpoint[Any, Any], handler: Handler[Any, Any]) -> Callable[[Msg], Awaitable[None]]:
        slots = asyncio.Semaphore(MAX_WORKERS)

        async def respond(message: Msg) -> None:
            try:
                await message.respond(await answer(endpoint, handler, message.subject, message.data))
            finally:
                slots.release()

        async def spawn(message: Msg) -> None:
            if not may_be_answered(message.subject, message.reply):
                _refused(message.subject)
                return
            await slots.acquire()
            task = asyncio.create_task(respond(message))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        return spawn

"""Serving endpoints with FastStream.

``direct`` endpoints subscribe on the broker's connection without FastStream's per-message machinery, which costs
0.25 ms of CPU (docs/adr/0004-direct-endpoints.md); they share everything else.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

from faststream.exceptions import SkipMessage
from faststream.nats import NatsBroker
from faststream.nats.message import NatsMessage
from faststream.nats.security import NatsCredentials
from faststream.nats.subscriber.usecases.core_subscriber import CoreSubscriber
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import Error as NatsError

from libs.common.messaging.connection import ConnectionGuard, connect_options, service_inbox
from libs.common.messaging.identities import gateway_inbox
from libs.common.messaging.rpc import (
    DEFAULT_MAX_PAYLOAD,
    MAX_WORKERS,
    Declined,
    Endpoint,
    Handler,
    Rep,
    Req,
    answer,
    refusal,
)
from libs.common.subjects import gateway_of, is_gateway_subject

log = logging.getLogger(__name__)

_HEADER_BYTES: Final = 1024
"""Headers count as payload, and FastStream puts some on its replies."""

_SERVICE_INBOXES: Final = service_inbox("")


def may_be_answered(subject: str, reply: str) -> bool:
    """Whether ``reply`` is an inbox of those who may ask on ``subject``.

    With ``allow_responses`` the NATS server lets a service publish to whatever reply subject a request names, beyond
    the service's own permissions. Anything but an inbox would let the one who asks have the answer stored as an
    event, or put to another service as a request.
    """
    of_gateway = is_gateway_subject(subject)
    return reply.startswith(f"{gateway_inbox(gateway_of(subject))}." if of_gateway else _SERVICE_INBOXES)


def _refused(subject: str) -> None:
    log.warning("rpc.reply_subject_refused", extra={"subject": subject})


async def _drained(subscription: Subscription) -> None:
    await subscription.drain()  # type: ignore[no-untyped-call]


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
    """The endpoints of one service. Declare them with :meth:`serve` before :meth:`start`."""

    def __init__(self, broker: NatsBroker) -> None:
        self._broker = broker
        self._direct: list[tuple[Endpoint[Any, Any], Handler[Any, Any]]] = []
        self._subscriptions: list[Subscription] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._handled = 0
        self._progress = asyncio.Event()
        self._max_payload = DEFAULT_MAX_PAYLOAD
        self._declining: Declined | None = None

    def decline(self, error: Declined | None) -> None:
        """Answer every request with ``error`` from now on, because another instance does the work; None: work again.

        Leaving the queue groups instead would leave nobody there in the moment in which the other one goes away.
        """
        self._declining = error

    def serve(self, endpoint: Endpoint[Req, Rep], handler: Handler[Req, Rep], *, direct: bool = False) -> None:
        if direct:
            self._direct.append((endpoint, handler))
            return

        async def handle(message: Msg) -> bytes:
            try:
                if not may_be_answered(message.subject, message.reply):
                    _refused(message.subject)
                    raise SkipMessage
                return await self._answer(endpoint, handler, message)
            finally:
                self._handled += 1
                self._progress.set()

        self._broker.subscriber(
            endpoint.subject,
            queue=endpoint.queue,
            decoder=_raw,
            max_workers=MAX_WORKERS,
            title=endpoint.subject,
            description=endpoint.summary,
        )(handle)

    async def start(self, nc: Client) -> None:
        """Take requests. ``nc`` is the broker's connection.

        When this returns the server knows all endpoints. It learns of them in order, and last of the one that was
        declared last, unless that is direct: who gets an answer from that one reaches all others.
        """
        self._max_payload = nc.max_payload - _HEADER_BYTES
        for endpoint, handler in self._direct:
            spawn = self._spawner(endpoint, handler)
            self._subscriptions.append(await nc.subscribe(endpoint.subject, queue=endpoint.queue, cb=spawn))
        await self._broker.start()
        with contextlib.suppress(NatsError, OSError, TimeoutError):  # behind a lost connection all is declared anew
            await nc.flush()

    async def drain(self, within_s: float) -> None:
        """Take no more requests and answer those that have come, if that can be done in time.

        FastStream's own stop forgets the requests that come while it waits for those in work.
        """
        begun: list[Subscription] = []
        for subscriber in self._broker.subscribers:
            if isinstance(subscriber, CoreSubscriber) and subscriber.subscription is not None:
                begun.append(subscriber.subscription)
                subscriber.subscription = None  # a drained one can't be unsubscribed
        try:
            async with asyncio.timeout(within_s):
                await asyncio.gather(*(_drained(subscription) for subscription in (*begun, *self._subscriptions)))
                if self._tasks:
                    await asyncio.wait(self._tasks)
                while self._handled < sum(subscription.delivered for subscription in begun):
                    self._progress.clear()
                    await self._progress.wait()
        except (NatsError, OSError, TimeoutError) as error:
            log.warning("rpc.not_drained", extra={"kind": type(error).__name__})

    def _spawner(self, endpoint: Endpoint[Any, Any], handler: Handler[Any, Any]) -> Callable[[Msg], Awaitable[None]]:
        slots = asyncio.Semaphore(MAX_WORKERS)

        async def respond(message: Msg) -> None:
            try:
                await message.respond(await self._answer(endpoint, handler, message))
            except NatsError as error:
                log.warning("rpc.not_answered", extra={"subject": endpoint.subject, "kind": type(error).__name__})
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

    async def _answer(self, endpoint: Endpoint[Any, Any], handler: Handler[Any, Any], message: Msg) -> bytes:
        if self._declining is not None:
            return refusal(self._declining)
        return await answer(endpoint, handler, message.subject, message.data, self._max_payload)

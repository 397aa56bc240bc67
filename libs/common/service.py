"""What every service process does around its own work: settings, logs, bus, health, signals, exit.

A service's ``main.py`` is its composition root: a function that builds adapters and use cases on a :class:`Service`.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import signal
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Final, TypeVar

import uvloop
from faststream.nats import NatsBroker
from nats.aio.client import Client
from nats.errors import Error as NatsError
from pydantic import Field

from libs.common.errors import KtError
from libs.common.logging import configure_logging
from libs.common.messaging.connection import CONNECT_TIMEOUT_S, ConnectionGuard
from libs.common.messaging.rpc import Endpoint, Message, RpcClient
from libs.common.messaging.server import RpcServer, broker_for
from libs.common.settings import ServiceSettings
from libs.common.tasks import ended

log = logging.getLogger(__name__)

DRAIN_TIMEOUT_S: Final = 3.0
GC_THRESHOLD: Final = 10_000
"""New objects between two collections; a request makes hundreds, and few of them in cycles."""
STOP_TIMEOUT_S: Final = 5.0


class HealthRequest(Message):
    pass


class HealthReply(Message):
    """``ready`` with the place of each projection of the service."""

    service: str
    ready: bool
    positions: dict[str, int] = Field(default_factory=dict)


def health_endpoint(service: str) -> Endpoint[HealthRequest, HealthReply]:
    return Endpoint(f"kt.health.v1.{service}", service, HealthRequest, HealthReply, f"Is {service} ready?")


class Service:
    """A connected service under construction: its bus connection, its endpoints, its background work."""

    def __init__(self, name: str, nc: Client, broker: NatsBroker) -> None:
        self.name = name
        self.nc = nc
        self.rpc = RpcServer(broker)
        self.client = RpcClient(nc)
        self.background: list[Callable[[], Coroutine[Any, Any, None]]] = []
        self.positions: Callable[[], dict[str, int]] = dict

    async def health(self, _subject: str, _request: HealthRequest) -> HealthReply:
        return HealthReply(service=self.name, ready=True, positions=self.positions())


S = TypeVar("S", bound=ServiceSettings)
Compose = Callable[[Service, S], AbstractAsyncContextManager[None]]
"""Builds the service; what it opened is closed when the context ends."""


def run_service(name: str, settings_type: type[S], compose: Compose[S]) -> None:
    """Run until SIGTERM or SIGINT. Exits 0 after a stop, else with the exit code of what went wrong."""
    configure_logging(name, "info")
    try:
        settings = settings_type.load()
        configure_logging(name, settings.log_level)
        uvloop.run(_serve(name, settings, compose))
    except KtError as error:
        log.error("service.failed", extra={"code": error.code, "detail": error.detail, "hint": error.hint})  # noqa: TRY400
        print(f"{name}: {error}", file=sys.stderr)  # noqa: T201
        sys.exit(int(error.kind.exit))


async def _serve(name: str, settings: S, compose: Compose[S]) -> None:
    stopped, started = asyncio.Event(), asyncio.Event()
    running = asyncio.create_task(_run(name, settings, compose, started, stopped))

    def stop() -> None:
        if not started.is_set() and not stopped.is_set():
            running.cancel()  # a start may wait half a minute for an engine
        stopped.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop)
    await asyncio.wait([running])
    if not running.cancelled():
        running.result()
    log.info("service.stopped")


async def _run(name: str, settings: S, compose: Compose[S], started: asyncio.Event, stopped: asyncio.Event) -> None:
    guard = ConnectionGuard()
    async with connected_broker(name, settings, guard) as (broker, nc):
        service = Service(name, nc, broker)
        async with compose(service, settings):
            service.rpc.serve(health_endpoint(name), service.health)
            # What is there now stays: the collector need not look at it again and again.
            gc.collect()
            gc.freeze()
            gc.set_threshold(GC_THRESHOLD)
            await service.rpc.start(nc)
            started.set()
            log.info("service.started")
            await _until_stopped(service, stopped, guard)


async def _until_stopped(service: Service, stopped: asyncio.Event, guard: ConnectionGuard) -> None:
    work = [asyncio.create_task(start()) for start in service.background]
    ends = [asyncio.create_task(stopped.wait()), asyncio.create_task(guard.closed.wait())]
    done, pending = await asyncio.wait([*work, *ends], return_when=asyncio.FIRST_COMPLETED)
    # Answers may need the work in the background, and what the service was composed of.
    await service.rpc.drain(DRAIN_TIMEOUT_S)
    if not await ended(pending, STOP_TIMEOUT_S):
        log.warning("service.work_not_ended")
    for task in done:
        task.result()
    if guard.closed.is_set() and not stopped.is_set():
        raise KtError("unavailable", "The connection to the message bus was lost for good; restarting.")


@asynccontextmanager
async def connected_broker(
    name: str, settings: ServiceSettings, guard: ConnectionGuard
) -> AsyncIterator[tuple[NatsBroker, Client]]:
    """A FastStream broker on a connected client. Waits for a server that is starting.

    Raises:
        KtError: ``unavailable`` after 30 s.
    """
    broker = broker_for(name, settings.nats_url, settings.nats_creds, guard)
    nc = await _connect(broker, settings.nats_url)
    try:
        yield broker, nc
    finally:
        with contextlib.suppress(NatsError, OSError, TimeoutError):
            async with asyncio.timeout(STOP_TIMEOUT_S):
                await broker.stop()


async def _connect(broker: NatsBroker, url: str) -> Client:
    try:
        # Left alone, nats-py would try for ever: it is told never to give up a connection.
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            return await broker.connect()
    except (NatsError, OSError, TimeoutError) as error:
        raise KtError("unavailable", f"The message bus at {url} can't be reached.", "Is it running?") from error

"""Composition root of the webhooks service."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Final

from nats.aio.client import Client

from libs.common.clock import SystemClock
from libs.common.direct_get import DirectReader
from libs.common.ids import Uuid7Factory
from libs.common.postgres import Pool, open_pool
from libs.common.projection import ProjectionRunner
from libs.common.protocol import webhooks
from libs.common.service import Service, run_service
from libs.common.subjects import EVENTS
from services.webhooks.adapters.access_follower import AccessFollower
from services.webhooks.adapters.bus import (
    BusSigner,
    BusUpkeeper,
    StreamMessages,
    StreamRecorder,
    StreamRequestLog,
)
from services.webhooks.adapters.events_projection import EventsProjection
from services.webhooks.adapters.http_sender import http_sender
from services.webhooks.adapters.store import PostgresStore
from services.webhooks.application.deliver import Deliverer
from services.webhooks.application.outcomes import Outcomes
from services.webhooks.application.queries import Queries
from services.webhooks.application.upkeep import Upkeep
from services.webhooks.domain.addresses import AddressPolicy
from services.webhooks.settings import WebhooksSettings

SCHEMA: Final = "webhooks"
POOL_SIZE: Final = 8
"""Two for the projections; the others for who claims, completes and asks."""


@asynccontextmanager
async def compose(service: Service, settings: WebhooksSettings) -> AsyncIterator[None]:
    clock = SystemClock()
    policy = AddressPolicy.parse(settings.webhook_allowed_networks)
    timeout = timedelta(seconds=settings.webhook_timeout_seconds)
    async with (
        open_pool(settings.postgres_dsn, SCHEMA, POOL_SIZE) as pool,
        http_sender(policy, clock, timeout) as sender,
    ):
        nc, client, store = service.nc, service.client, PostgresStore(pool)
        runner = ProjectionRunner(nc, pool, EventsProjection(clock))
        deliverer = Deliverer(
            store, StreamMessages(nc), BusSigner(client), sender, clock, random.SystemRandom().random, timeout
        )
        upkeep = Upkeep(store, BusUpkeeper(client), clock, timedelta(days=settings.webhook_retention_days))
        service.background += [
            runner.run,
            AccessFollower(nc, pool, store).run,
            deliverer.run,
            lambda: wake_with(runner, deliverer),
            Outcomes(store, StreamRecorder(nc)).run,
            upkeep.run,
        ]
        serve(service, build_queries(nc, pool, runner, policy, deliverer))
        service.positions = lambda: {EventsProjection.name: runner.position}
        yield


def build_queries(
    nc: Client, pool: Pool, runner: ProjectionRunner, policy: AddressPolicy, deliverer: Deliverer
) -> Queries:
    clock, reader = SystemClock(), DirectReader(nc, EVENTS)

    async def caught_up(timeout_s: float) -> bool:
        head = await reader.last(">")
        return head is None or await runner.wait_for(head.sequence, timeout_s)

    requests = StreamRequestLog(nc, clock, Uuid7Factory(clock))
    return Queries(PostgresStore(pool), requests, policy, deliverer, clock, caught_up)


def serve(service: Service, queries: Queries) -> None:
    service.rpc.serve(webhooks.ADMIT, queries.admit)
    service.rpc.serve(webhooks.GET, queries.get)
    service.rpc.serve(webhooks.LIST, queries.list)
    service.rpc.serve(webhooks.DELIVERIES, queries.deliveries)
    service.rpc.serve(webhooks.REDELIVER, queries.redeliver)
    service.rpc.serve(webhooks.TEST, queries.test)


async def wake_with(runner: ProjectionRunner, deliverer: Deliverer) -> None:
    """Look for due deliveries as soon as there may be new ones."""
    position = 0
    while True:
        position = await runner.passed(position)
        deliverer.wake()


if __name__ == "__main__":
    run_service("webhooks", WebhooksSettings, compose)

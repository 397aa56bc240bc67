"""Accesses that somebody wants to be told of.

``KT_ACCESS`` gets a record with every resolution, so it is followed only while a webhook names one of its events in
full, from the moment on that one does.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Collection, Sequence
from typing import Final

import psycopg
from nats.aio.client import Client
from psycopg_pool import PoolTimeout

from libs.common.direct_get import DirectReader, StoredMessage
from libs.common.errors import KtError
from libs.common.events.patterns import access_types
from libs.common.postgres import Connection, Pool
from libs.common.projection import ProjectionRunner
from libs.common.subjects import ACCESS, ALL_ACCESS
from libs.common.tasks import ended
from services.webhooks.adapters import sql
from services.webhooks.adapters.events_projection import new_delivery, readable_head, subscriptions_for
from services.webhooks.adapters.store import add_deliveries
from services.webhooks.application.ports import AccessInterest, NewDelivery
from services.webhooks.domain.subscription import Subscription

log = logging.getLogger(__name__)

LOOK_S: Final = 1.0
STOP_S: Final = 5.0
MAX_WAITING: Final = 10_000
"""Deliveries that may wait for one webhook before it is told of no further accesses. Changes are always told."""


class AccessProjection:
    """Adds a delivery of each access for each webhook that names its type."""

    name = "webhooks.access"
    stream = ACCESS
    subject = ALL_ACCESS

    def __init__(self) -> None:
        self._types: Final = sorted(access_types())

    async def apply(self, connection: Connection, messages: Sequence[StoredMessage]) -> None:
        cursor = await connection.execute(sql.NAMED, (self._types,))
        # In canonical JSON the type comes last, so most records are passed over without being parsed.
        ends = tuple(f'"type":"{row[0]}"}}'.encode() for row in await cursor.fetchall())
        named = [message for message in messages if message.body.endswith(ends)]
        if not named:
            return
        new = _wanted(named, await subscriptions_for(connection, named))
        if new:
            room = await _room(connection, {delivery.webhook for delivery in new})
            await add_deliveries(connection, _bounded(new, room))


def _wanted(messages: Sequence[StoredMessage], subscriptions: Sequence[Subscription]) -> list[NewDelivery]:
    new = []
    for message in messages:
        head = readable_head(message)
        if head is not None:
            wanting = (
                s
                for s in subscriptions
                if s.org == head.org and s.wants_access(head.type) and s.created_at <= head.time
            )
            new += [new_delivery(s, message, head, ACCESS) for s in wanting]
    return new


async def _room(connection: Connection, webhooks: Collection[str]) -> dict[str, int]:
    rows = await (await connection.execute(sql.WAITING, (list(webhooks),))).fetchall()
    return {webhook: MAX_WAITING - waiting for webhook, waiting in rows}


def _bounded(new: Sequence[NewDelivery], room: dict[str, int]) -> list[NewDelivery]:
    kept = []
    for delivery in new:
        room[delivery.webhook] -= 1
        if room[delivery.webhook] >= 0:
            kept.append(delivery)
    if len(kept) < len(new):
        log.warning("webhooks.accesses_left_out", extra={"events": len(new) - len(kept)})
    return kept


class AccessFollower:
    def __init__(self, nc: Client, pool: Pool, interest: AccessInterest) -> None:
        self._pool = pool
        self._interest = interest
        self._reader = DirectReader(nc, ACCESS)
        self._projection = AccessProjection()
        self._nc = nc

    async def run(self) -> None:
        """Follow while somebody is interested, until cancelled.

        Raises:
            KtError: ``stream_damaged``; everything else is retried.
        """
        following: asyncio.Task[None] | None = None
        try:
            while True:
                try:
                    wanted = bool(await self._interest.access_patterns(access_types()))
                    await self._note(wanted)
                except (KtError, psycopg.Error, PoolTimeout, TimeoutError) as error:
                    log.warning("access.not_looked", extra={"kind": type(error).__name__})
                else:
                    following = await self._switched(following, wanted)
                await asyncio.sleep(LOOK_S)
        finally:
            if following is not None:
                await ended([following], STOP_S)

    async def _switched(self, following: asyncio.Task[None] | None, wanted: bool) -> asyncio.Task[None] | None:
        if following is not None and following.done():
            following.result()
        if wanted and following is None:
            return asyncio.create_task(ProjectionRunner(self._nc, self._pool, self._projection).run())
        if not wanted and following is not None:
            await ended([following], STOP_S)
            return None
        return following

    async def _note(self, wanted: bool) -> None:
        """Write down whether the stream is followed; who begins to follow it begins at its end."""
        last = await self._reader.last(">") if wanted else None
        async with self._pool.connection() as connection, connection.transaction():
            row = await (await connection.execute(sql.IS_FOLLOWED)).fetchone()
            active = row is not None and row[0]
            if wanted and not active:
                place = (last.sequence, hashlib.sha256(last.body).digest()) if last else (0, b"")
                await connection.execute(sql.BEGIN_AT, (self._projection.name, *place))
            if wanted != active:
                await connection.execute(sql.SET_FOLLOWED, (wanted,))

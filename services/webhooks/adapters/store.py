"""Webhooks and deliveries in PostgreSQL."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from libs.common.event_store import ConcurrencyConflict
from libs.common.ids import derived_id
from libs.common.postgres import Connection, Pool, answering
from libs.common.protocol.webhooks import DeliveryStatus, DeliveryView
from services.webhooks.adapters import sql
from services.webhooks.adapters.rows import DATABASE, claimed_of, outcome_of, subscription_of, uuid_or_none, view_of
from services.webhooks.application.ports import Claimed, Due, NewDelivery, Outcome, Recorder
from services.webhooks.domain.schedule import GONE, Delivered, Failed, Response, Retried, Step
from services.webhooks.domain.subscription import Subscription

RECORDED_AT_ONCE: Final = 100
_BEYOND: Final = 2**62


class PostgresStore:
    """Implements ``Queue``, ``OutcomeBook``, ``Keeper``, ``Lists`` and ``AccessInterest``."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def claim(
        self, now: datetime, lost_at: datetime, busy: Mapping[str, int], each: int, limit: int
    ) -> Sequence[Claimed]:
        values = {
            "now": now,
            "lost_at": lost_at,
            "busy": list(busy),
            "counts": list(busy.values()),
            "each": each,
            "limit": limit,
        }
        return [claimed_of(row) for row in await self._rows(sql.CLAIM, values)]

    async def complete(self, claimed: Claimed, response: Response, step: Step, now: datetime) -> None:
        values: dict[str, Any] = {
            "id": UUID(claimed.id),
            "claim": claimed.claim,
            "answered": response.status,
            "status": "pending",
            "reason": "",
            "due": now,
            "finished": now,
            "outcome": UUID(derived_id("outcome", claimed.id, str(claimed.claim))),
            "now": now,
            "webhook": claimed.webhook,
        }
        match step:
            case Delivered():
                values["status"] = "delivered"
            case Failed(reason):
                values |= {"status": "failed", "reason": reason}
            case Retried(due, reason, hold):
                values |= {"due": due, "reason": reason, "finished": None, "outcome": None, "hold": hold}
        with answering(DATABASE):
            async with self._pool.connection() as connection, connection.transaction():
                # The webhook first, as the projection does it: in another order the two could wait for each other.
                if isinstance(step, Failed) and step.reason == GONE:
                    await connection.execute(sql.MARK_GONE, values)
                if isinstance(step, Retried) and step.hold is not None:
                    await connection.execute(sql.MARK_HELD, values)
                await connection.execute(sql.COMPLETE, values)

    async def postpone(self, claimed: Claimed, due: datetime) -> None:
        await self._execute(sql.POSTPONE, {"id": UUID(claimed.id), "claim": claimed.claim, "due": due})

    async def record_next(self, recorder: Recorder) -> bool:
        with answering(DATABASE):
            async with self._pool.connection() as connection, connection.transaction():
                row = await (await connection.execute(sql.LOCK_LOG)).fetchone()
                if row is None:
                    return False
                webhook, org, after = row
                rows = await (await connection.execute(sql.UNRECORDED, (webhook, RECORDED_AT_ONCE))).fetchall()
                outcomes = [outcome_of(row) for row in rows]
                return await _record(connection, recorder, _Log(webhook, org, after), outcomes)

    async def overdue_secrets(self, now: datetime) -> Sequence[Due]:
        return [Due(*row) for row in await self._rows(sql.OVERDUE_SECRETS, (now,))]

    async def gone(self) -> Sequence[Due]:
        return [Due(*row) for row in await self._rows(sql.GONE, ())]

    async def expire(self, begun_before: datetime, now: datetime) -> int:
        return await self._execute(sql.EXPIRE, {"before": begun_before, "now": now})

    async def sweep(self, finished_before: datetime) -> int:
        return await self._execute(sql.SWEEP, (finished_before,)) + await self._execute(sql.SWEEP_DELETED, ())

    async def webhook(self, org: str, webhook: str) -> Subscription | None:
        rows = await self._rows(sql.WEBHOOK, (org, webhook))
        return subscription_of(rows[0]) if rows else None

    async def webhooks(self, org: str, after: int, limit: int) -> Sequence[Subscription]:
        return [subscription_of(row) for row in await self._rows(sql.WEBHOOK_PAGE, (org, after, limit))]

    async def count(self, org: str, without: str) -> int:
        ((count,),) = await self._rows(sql.COUNT_WEBHOOKS, (org, without))
        return int(count)

    async def deliveries(
        self, webhook: str, status: DeliveryStatus | None, before: int, limit: int
    ) -> Sequence[tuple[int, DeliveryView]]:
        values = {"webhook": webhook, "status": status, "before": before or _BEYOND, "limit": limit}
        return [view_of(row) for row in await self._rows(sql.DELIVERY_PAGE, values)]

    async def delivery(self, webhook: str, delivery: str) -> DeliveryView | None:
        wanted = uuid_or_none(delivery)
        rows = await self._rows(sql.DELIVERY, (wanted, webhook)) if wanted else []
        return view_of(rows[0])[1] if rows else None

    async def redeliver(self, webhook: str, delivery: str, now: datetime) -> bool:
        values = {"id": UUID(delivery), "webhook": webhook, "now": now}
        return await self._execute(sql.REDELIVER, values) == 1

    async def add(self, delivery: NewDelivery) -> None:
        with answering(DATABASE):
            async with self._pool.connection() as connection:
                await add_deliveries(connection, [delivery])

    async def access_patterns(self, known: Collection[str]) -> frozenset[str]:
        return frozenset(row[0] for row in await self._rows(sql.NAMED, (list(known),)))

    async def _rows(self, query: str, values: Any) -> list[tuple[Any, ...]]:
        with answering(DATABASE):
            async with self._pool.connection() as connection:
                return await (await connection.execute(query, values)).fetchall()

    async def _execute(self, query: str, values: Any) -> int:
        with answering(DATABASE):
            async with self._pool.connection() as connection:
                return (await connection.execute(query, values)).rowcount


async def add_deliveries(connection: Connection, deliveries: Sequence[NewDelivery]) -> None:
    """Add those that are not there yet."""
    columns = zip(
        *(
            (UUID(d.id), d.webhook, d.position.stream, d.position.sequence, d.event_id, d.event_type, d.created_at)
            for d in deliveries
        ),
        strict=True,
    )
    await connection.execute(sql.ADD_DELIVERIES, [list(column) for column in columns])


@dataclass(frozen=True, slots=True)
class _Log:
    """How far the outcomes of a webhook are on record."""

    webhook: str
    org: str
    after: int


async def _record(connection: Connection, recorder: Recorder, log: _Log, outcomes: Sequence[Outcome]) -> bool:
    """Put outcomes on record and write down that they are; False when nothing came of it."""
    last, recorded = log.after, []
    try:
        for outcome in outcomes:
            last = await recorder.record(log.org, log.webhook, outcome, last)
            recorded.append(outcome.id)
    except ConcurrencyConflict:
        # Recorded in another order by somebody who did not get to write it down here. Or all that was ever recorded
        # has expired from the stream: then it begins anew.
        found = await recorder.recorded(log.org, log.webhook, log.after)
        last, recorded = (found[-1][0] if found else 0), [event_id for _, event_id in found]
    await connection.execute(sql.RECORDED, (log.webhook, recorded))
    await connection.execute(sql.MOVE_LOG, (last, log.webhook))
    return bool(recorded)

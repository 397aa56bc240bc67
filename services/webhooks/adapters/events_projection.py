"""From events to due deliveries: one row for each webhook and event, in the transaction that moves the checkpoint."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from libs.common.clock import Clock
from libs.common.direct_get import StoredMessage
from libs.common.event_store import read_event
from libs.common.events import MalformedEvent
from libs.common.events.webhook import WebhookDeleted, WebhookDisabled, WebhookUpdated
from libs.common.ids import derived_id
from libs.common.postgres import Connection
from libs.common.subjects import ALL_EVENTS, EVENTS, aggregate_of
from services.webhooks.adapters import sql
from services.webhooks.adapters.rows import columns_of, subscription_of
from services.webhooks.adapters.store import add_deliveries
from services.webhooks.application.ports import NewDelivery, Position
from services.webhooks.application.upkeep import EXPIRES_AFTER
from services.webhooks.domain.message import EventHead, head_of
from services.webhooks.domain.subscription import Subscription, evolve

log = logging.getLogger(__name__)

AGGREGATE: Final = "webhook"
DISABLED: Final = "disabled"
DELETED: Final = "deleted"
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class EventsProjection:
    """Keeps the webhooks of ``KT_EVENTS``, and adds a delivery of each event for each webhook that wants it."""

    name = "webhooks.events"
    stream = EVENTS
    subject = ALL_EVENTS

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    async def apply(self, connection: Connection, messages: Sequence[StoredMessage]) -> None:
        batch = _Batch(connection, await subscriptions_for(connection, messages))
        too_old = self._clock.now() - EXPIRES_AFTER
        for message in messages:
            if aggregate_of(message.subject) == AGGREGATE:
                await batch.change(message)
            if batch.subscriptions and stored_at(message) > too_old:
                batch.tell(message)
        await batch.flush()


class _Batch:
    """Webhooks as they stand at each event of a batch, and the deliveries that are not written yet."""

    def __init__(self, connection: Connection, subscriptions: Iterable[Subscription]) -> None:
        self._connection = connection
        self.subscriptions = {(s.org, s.id): s for s in subscriptions}
        self._changed: dict[tuple[str, str], bool] = {}
        self._new: list[NewDelivery] = []

    async def change(self, message: StoredMessage) -> None:
        """
        Raises:
            UnknownEventType: written by a newer release; telling anybody of anything has to wait for that.
        """
        try:
            recorded = read_event(message)
            key = recorded.metadata.org, recorded.resource.id
            state = self.subscriptions[key] = evolve(self.subscriptions.get(key), recorded)
        except MalformedEvent as error:
            log.error("webhooks.event_skipped", extra={"sequence": message.sequence, "why": str(error)})  # noqa: TRY400
            return
        event = recorded.event
        released = isinstance(event, (WebhookUpdated, WebhookDisabled))
        self._changed[key] = self._changed.get(key, False) or released
        if not state.enabled:
            await self.flush()
            await self._end_pending(state, event, stored_at(message))

    def tell(self, message: StoredMessage) -> None:
        head = readable_head(message)
        if head is not None:
            wanting = [s for s in self.subscriptions.values() if s.org == head.org and s.wants(head.type)]
            self._new += [new_delivery(s, message, head, EVENTS) for s in wanting]

    async def flush(self) -> None:
        """The webhooks first, as the completion of a delivery does it: else the two could wait for each other."""
        for key, released in self._changed.items():
            subscription = self.subscriptions[key]
            await self._connection.execute(sql.PUT_WEBHOOK, {**columns_of(subscription), "released": released})
            await self._connection.execute(sql.PUT_LOG, (subscription.id, subscription.org))
        if self._new:
            await add_deliveries(self._connection, self._new)
        self._changed, self._new = {}, []

    async def _end_pending(self, state: Subscription, event: Any, now: datetime) -> None:
        reason = DELETED if isinstance(event, WebhookDeleted) else state.disabled_reason or DISABLED
        await self._connection.execute(sql.END_PENDING, {"webhook": state.id, "reason": reason, "now": now})


async def subscriptions_for(connection: Connection, messages: Sequence[StoredMessage]) -> list[Subscription]:
    """The webhooks of the orgs of these messages, and those that the messages are about."""
    tokens = [message.subject.split(".") for message in messages]
    orgs = {parts[3] for parts in tokens}
    about = {parts[5] for parts in tokens if parts[4] == AGGREGATE}
    cursor = await connection.execute(sql.WEBHOOKS_OF, (list(orgs), list(about)))
    return [subscription_of(row) for row in await cursor.fetchall()]


def readable_head(message: StoredMessage) -> EventHead | None:
    """What names the event; None for what is no event of the org whose subject it has."""
    try:
        head = head_of(message.body)
    except MalformedEvent:
        head = None
    if head is None or head.org != message.subject.split(".")[3]:
        log.warning("webhooks.no_event", extra={"sequence": message.sequence})
        return None
    return head


def new_delivery(subscription: Subscription, message: StoredMessage, head: EventHead, stream: str) -> NewDelivery:
    return NewDelivery(
        id=derived_id("delivery", subscription.id, head.id),
        webhook=subscription.id,
        position=Position(stream, message.sequence),
        event_id=head.id,
        event_type=head.type,
        created_at=stored_at(message),
    )


def stored_at(message: StoredMessage) -> datetime:
    return _EPOCH + timedelta(microseconds=message.time_ns // 1000)

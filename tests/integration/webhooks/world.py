"""Webhooks and deliveries in a real database, with time under control."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from libs.common.direct_get import StoredMessage
from libs.common.event_store import ConcurrencyConflict
from libs.common.events import Actor, Metadata, Origin, Resource, encode
from libs.common.events.config_variable import ConfigVariableRotated
from libs.common.events.secret import SealedRef
from libs.common.events.webhook import WebhookCreated, WebhookEvent
from libs.common.ids import derived_id
from libs.common.postgres import Pool
from libs.common.protocol.webhooks import DeliveryView
from libs.common.subjects import event_subject
from services.webhooks.adapters.events_projection import EventsProjection
from services.webhooks.adapters.store import PostgresStore
from services.webhooks.application.deliver import Deliverer
from services.webhooks.application.ports import Outcome
from tests.unit.webhooks.support import START, Events, MovableClock, Receiver, Signatures

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
URL = "https://receiver.example.com/kt"


@dataclass
class Record:
    """Implements ``Recorder``: a stream in memory, with the rules of the real one."""

    events: list[tuple[str, int, str]] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)

    async def record(self, org: str, webhook: str, outcome: Outcome, after: int) -> int:
        newer = await self.recorded(org, webhook, after)
        if newer:
            same = [sequence for sequence, event_id in newer if event_id == outcome.id]
            if same:
                return same[0]
            raise ConcurrencyConflict
        if after and after not in [s for w, s, _ in self.events if w == webhook]:
            raise ConcurrencyConflict
        self.events.append((webhook, len(self.events) + 1, outcome.id))
        self.outcomes.append(outcome)
        return len(self.events)

    async def recorded(self, _: str, webhook: str, after: int) -> list[tuple[int, str]]:
        return [(sequence, event_id) for w, sequence, event_id in self.events if w == webhook and sequence > after]


class World:
    """``tell`` appends events as the command service would; ``now`` delivers what is due."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.clock = MovableClock()
        self.store = PostgresStore(pool)
        self.receiver, self.signatures, self.events = Receiver(), Signatures(), Events()
        self.record = Record()
        self.deliverer = Deliverer(
            self.store,
            self.events,
            self.signatures,
            self.receiver,
            self.clock,
            lambda: 0.0,
            timedelta(seconds=15),
        )
        self._sequences = itertools.count(1)

    async def tell(self, *told: tuple[object, Resource], org: str = "default") -> list[StoredMessage]:
        messages = [self.message(event, resource, org) for event, resource in told]
        await self.project(messages)
        return messages

    async def project(self, messages: list[StoredMessage]) -> None:
        async with self.pool.connection() as connection, connection.transaction():
            await EventsProjection(self.clock).apply(connection, messages)

    def message(self, event: object, resource: Resource, org: str = "default") -> StoredMessage:
        sequence = next(self._sequences)
        metadata = Metadata(
            derived_id("event", str(sequence)),
            self.clock.now().isoformat(timespec="microseconds").replace("+00:00", "Z"),
            org,
            "keeptrusts/command",
            Actor("admin", "a"),
            Origin("r"),
        )
        _, body = encode(event, resource, metadata)
        time_ns = int((self.clock.now() - _EPOCH).total_seconds()) * 10**9
        return StoredMessage(event_subject(org, resource.type, resource.id), sequence, body, time_ns)

    async def now(self) -> int:
        """Make every attempt that is due; how many there were."""
        made = 0
        while claimed := await self.deliverer.claim():
            made += claimed
            await self.deliverer.idle()
        return made

    async def deliveries(self, webhook: str) -> list[DeliveryView]:
        """Oldest first."""
        return [view for _, view in await self.store.deliveries(webhook, None, 0, 500)][::-1]


def webhook(name: str, *event_types: str, url: str = URL) -> tuple[WebhookCreated, Resource]:
    types = event_types or ("kt.config_variable.*",)
    return WebhookCreated(url, types, "", SealedRef(f"{name}-secret", "d")), Resource("webhook", name)


def of(event: WebhookEvent, name: str) -> tuple[WebhookEvent, Resource]:
    return event, Resource("webhook", name)


def rotation(name: str = "A") -> tuple[ConfigVariableRotated, Resource]:
    return ConfigVariableRotated(2, SealedRef("s", "d")), Resource("config_variable", name, 2)


__all__ = ["START", "Record", "World", "of", "rotation", "webhook"]

"""Destruction follows the events: what a deleted name ever referred to is deleted, and nothing else."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final, assert_never

from libs.common.clock import Clock
from libs.common.errors import KtError
from libs.common.events import RecordedEvent
from libs.common.events.config_variable import ConfigVariableTakenOver
from libs.common.events.secret import (
    SecretCreated,
    SecretDeleted,
    SecretEvent,
    SecretRolledBack,
    SecretRotated,
    SecretUpdated,
    SecretVersionDestroyed,
)
from libs.common.events.webhook import (
    WebhookCreated,
    WebhookDeleted,
    WebhookDisabled,
    WebhookEvent,
    WebhookSecretRetired,
    WebhookSecretRotated,
    WebhookUpdated,
)
from services.keys.application.ports import SealedStore
from services.keys.domain.sealed import is_sealed_id

log = logging.getLogger(__name__)

SWEEP_AGE: Final = timedelta(hours=1)
"""Much longer than a command may take from sealing a value to appending its event."""

SWEEP_EVERY_S: Final = 600.0

WEBHOOK_SECRET: Final = "webhook_secret"  # noqa: S105 - the kind of a sealed value


@dataclass(frozen=True, slots=True)
class Resource:
    org: str
    kind: str
    name: str


@dataclass(slots=True)
class Effects:
    """What a batch of events does to the sealed store, each effect with the last sequence that has it.

    A deletion destroys what events before it referred to; a name that was created again keeps its new value.
    ``destroyed`` are values of single versions.
    """

    referenced: dict[tuple[Resource, str], int] = field(default_factory=dict)
    deleted: dict[Resource, int] = field(default_factory=dict)
    destroyed: dict[tuple[Resource, str], int] = field(default_factory=dict)
    taken_over: dict[str, Resource] = field(default_factory=dict)
    """Whose older plaintext row is to be deleted, by the id of the sealed value."""


def effects_of(events: Iterable[RecordedEvent]) -> Effects:
    """The effects of events of secrets and webhooks, given in the order of the stream."""
    effects = Effects()
    for recorded in events:
        event, sequence = recorded.event, recorded.sequence
        if isinstance(event, WebhookEvent):
            _of_webhook(
                event, Resource(recorded.metadata.org, WEBHOOK_SECRET, recorded.resource.id), sequence, effects
            )
        else:
            resource = Resource(recorded.metadata.org, recorded.resource.type, recorded.resource.id)
            _of_secret(event, resource, sequence, effects)
    return effects


def _of_secret(event: SecretEvent, resource: Resource, sequence: int, effects: Effects) -> None:
    match event:
        case SecretCreated() | SecretRotated() | SecretRolledBack():
            if is_sealed_id(event.sealed.id):
                effects.referenced[resource, event.sealed.id] = sequence
                if isinstance(event, ConfigVariableTakenOver):
                    effects.taken_over[event.sealed.id] = resource
        case SecretDeleted():
            effects.deleted[resource] = sequence
        case SecretVersionDestroyed():
            if is_sealed_id(event.sealed.id):
                effects.destroyed[resource, event.sealed.id] = sequence
        case SecretUpdated():
            pass
        case _:
            assert_never(event)


def _of_webhook(event: WebhookEvent, resource: Resource, sequence: int, effects: Effects) -> None:
    match event:
        case WebhookCreated() | WebhookSecretRotated():
            if is_sealed_id(event.sealed.id):
                effects.referenced[resource, event.sealed.id] = sequence
        case WebhookSecretRetired():
            for sealed in event.retired:
                if is_sealed_id(sealed.id):
                    effects.destroyed[resource, sealed.id] = sequence
        case WebhookDeleted():
            effects.deleted[resource] = sequence
        case WebhookUpdated() | WebhookDisabled():
            pass
        case _:
            assert_never(event)


class Sweeper:
    """Deletes values that were sealed for an event which never came."""

    def __init__(self, store: SealedStore, clock: Clock, caught_up: Callable[[], Awaitable[bool]]) -> None:
        self._store = store
        self._clock = clock
        self._caught_up = caught_up

    async def sweep(self) -> int:
        """How many were deleted; none while there may be events that were not projected yet."""
        sealed_before = self._clock.now() - SWEEP_AGE
        if not await self._caught_up():
            return 0
        swept = await self._store.sweep(sealed_before)
        if swept:
            log.info("sealed_values.swept", extra={"swept": swept})
        return swept

    async def run(self, every_s: float = SWEEP_EVERY_S) -> None:
        """Sweep until cancelled."""
        while True:
            await asyncio.sleep(every_s)
            try:
                await self.sweep()
            except KtError as error:
                log.warning("sealed_values.sweep_failed", extra={"code": error.code, "why": error.detail})

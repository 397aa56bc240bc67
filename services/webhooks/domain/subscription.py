"""A webhook as the deliveries need it: what it is told of, and which secrets sign."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import assert_never

from libs.common.events import MalformedEvent, RecordedEvent
from libs.common.events.patterns import matches
from libs.common.events.secret import SealedRef
from libs.common.events.webhook import (
    WebhookCreated,
    WebhookDeleted,
    WebhookDisabled,
    WebhookEvent,
    WebhookSecretRetired,
    WebhookSecretRotated,
    WebhookUpdated,
)


@dataclass(frozen=True, slots=True)
class SigningSecret:
    """``until`` (RFC 3339, UTC, microseconds) is empty for the current one."""

    id: str
    digest: str
    until: str = ""

    def is_valid(self, now: str) -> bool:
        return not self.until or self.until > now


@dataclass(frozen=True, slots=True)
class Subscription:
    """``secrets`` has the current one first."""

    id: str
    org: str
    url: str
    event_types: tuple[str, ...]
    description: str
    enabled: bool
    disabled_reason: str
    secrets: tuple[SigningSecret, ...]
    created_sequence: int
    sequence: int
    created_at: str
    updated_at: str
    deleted: bool = False

    @property
    def overlap_until(self) -> str:
        return max((secret.until for secret in self.secrets), default="")

    @property
    def retire_at(self) -> str:
        """When the first old secret's time is over; empty without one."""
        return min((secret.until for secret in self.secrets if secret.until), default="")

    def wants(self, event_type: str) -> bool:
        """Whether it is told of an event of ``KT_EVENTS``."""
        return self.enabled and not self.deleted and any(matches(p, event_type) for p in self.event_types)

    def wants_access(self, event_type: str) -> bool:
        """Whether it is told of an event of ``KT_ACCESS``: only by its full name."""
        return self.enabled and not self.deleted and event_type in self.event_types


def evolve(state: Subscription | None, recorded: RecordedEvent) -> Subscription:
    """The webhook behind one more event.

    Raises:
        MalformedEvent: the event can't follow on what came before it.
    """
    event: WebhookEvent = recorded.event
    if isinstance(event, WebhookCreated) != (state is None or state.deleted):
        raise MalformedEvent(f"sequence {recorded.sequence}: does not follow on what came before it")
    if isinstance(event, WebhookCreated):
        return _created(event, recorded)
    if state is None:
        raise MalformedEvent(f"sequence {recorded.sequence}: there is no such webhook")
    moved = replace(state, sequence=recorded.sequence, updated_at=recorded.metadata.time)
    match event:
        case WebhookUpdated():
            return replace(
                moved,
                url=event.url,
                event_types=event.event_types,
                description=event.description,
                enabled=event.enabled,
                disabled_reason="",
            )
        case WebhookDisabled():
            return replace(moved, enabled=False, disabled_reason=event.reason)
        case WebhookSecretRotated():
            return replace(moved, secrets=(_secret(event.sealed), *_older(state.secrets, event.overlap_until)))
        case WebhookSecretRetired():
            gone = {sealed.id for sealed in event.retired}
            return replace(moved, secrets=tuple(s for s in state.secrets if s.id not in gone))
        case WebhookDeleted():
            return replace(moved, enabled=False, secrets=(), deleted=True)
        case _:
            assert_never(event)


def _created(event: WebhookCreated, recorded: RecordedEvent) -> Subscription:
    return Subscription(
        id=recorded.resource.id,
        org=recorded.metadata.org,
        url=event.url,
        event_types=event.event_types,
        description=event.description,
        enabled=True,
        disabled_reason="",
        secrets=(_secret(event.sealed),),
        created_sequence=recorded.sequence,
        sequence=recorded.sequence,
        created_at=recorded.metadata.time,
        updated_at=recorded.metadata.time,
    )


def _secret(sealed: SealedRef) -> SigningSecret:
    return SigningSecret(sealed.id, sealed.digest)


def _older(secrets: Iterable[SigningSecret], until: str) -> tuple[SigningSecret, ...]:
    return tuple(replace(s, until=min(s.until, until) if s.until else until) for s in secrets)

"""A secret as the resolver sees it: what is current, and since when."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import assert_never

from libs.common.events import MalformedEvent, RecordedEvent
from libs.common.events.secret import (
    SealedRef,
    SecretCreated,
    SecretDeleted,
    SecretEvent,
    SecretRolledBack,
    SecretRotated,
    SecretUpdated,
    SecretVersionDestroyed,
)


@dataclass(frozen=True, slots=True)
class SecretState:
    """``sealed`` is None once the secret is deleted. ``sequence`` is that of the last event."""

    name: str
    version: int
    description: str
    sensitive: bool
    sealed: SealedRef | None
    sequence: int
    created_at: str
    updated_at: str


@dataclass(frozen=True, slots=True)
class Unreadable:
    """The secret has an event that can't be read (damaged, or written by newer software)."""

    sequence: int


Known = SecretState | Unreadable | None
"""What is known of a name; None when it never existed."""


def evolve(state: SecretState | None, recorded: RecordedEvent) -> SecretState | None:
    """The state behind one more event; None before the first creation.

    Raises:
        MalformedEvent: the event can't follow on that state: it was stored again, or by somebody else.
    """
    event: SecretEvent = recorded.event
    time, sequence = recorded.metadata.time, recorded.sequence
    if not _follows(state, event):
        raise MalformedEvent(f"sequence {sequence}: does not follow on what came before it")
    if isinstance(event, SecretCreated):
        name = recorded.resource.id
        return SecretState(
            name, event.version, event.description, event.sensitive, event.sealed, sequence, time, time
        )
    if state is None:
        return None
    moved = replace(state, sequence=sequence, updated_at=time)
    match event:
        case SecretUpdated():
            return replace(moved, description=event.description, sensitive=event.sensitive)
        case SecretRotated() | SecretRolledBack():
            return replace(moved, version=event.version, sealed=event.sealed)
        case SecretDeleted():
            return replace(moved, sealed=None)
        case SecretVersionDestroyed():
            return moved  # never the current one
        case _:
            assert_never(event)


def _follows(state: SecretState | None, event: SecretEvent) -> bool:
    """Values are numbered without a gap, a deletion names the last one, and what is sensitive stays so."""
    exists = state is not None and state.sealed is not None
    version = state.version if state else 0
    match event:
        case SecretCreated():
            return not exists and event.version == version + 1
        case SecretRotated() | SecretRolledBack():
            return exists and event.version == version + 1
        case SecretUpdated():
            return state is not None and exists and event.sensitive >= state.sensitive
        case SecretDeleted():
            return exists and event.version == version
        case SecretVersionDestroyed():
            return exists and 1 <= event.version < version
        case _:
            assert_never(event)

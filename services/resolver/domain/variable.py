"""A config variable as the resolver sees it: what is current, and since when."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import assert_never

from libs.common.events import MalformedEvent, RecordedEvent
from libs.common.events.config_variable import (
    ConfigVariableCreated,
    ConfigVariableDeleted,
    ConfigVariableEvent,
    ConfigVariableRolledBack,
    ConfigVariableRotated,
    ConfigVariableUpdated,
    ConfigVariableVersionDestroyed,
    SealedRef,
)


@dataclass(frozen=True, slots=True)
class Variable:
    """``sealed`` is None once the variable is deleted. ``sequence`` is that of the last event."""

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
    """The variable has an event that can't be read (damaged, or written by newer software)."""

    sequence: int


Known = Variable | Unreadable | None
"""What is known of a name; None when it never existed."""


def evolve(state: Variable | None, recorded: RecordedEvent) -> Variable | None:
    """The state behind one more event; None before the first creation.

    Raises:
        MalformedEvent: the event can't follow on that state: it was stored again, or by somebody else.
    """
    event, time, sequence = recorded.event, recorded.metadata.time, recorded.sequence
    if not _follows(state, event):
        raise MalformedEvent(f"sequence {sequence}: does not follow on what came before it")
    if isinstance(event, ConfigVariableCreated):
        name = recorded.resource.id
        return Variable(name, event.version, event.description, event.sensitive, event.sealed, sequence, time, time)
    if state is None:
        return None
    moved = replace(state, sequence=sequence, updated_at=time)
    match event:
        case ConfigVariableUpdated():
            return replace(moved, description=event.description, sensitive=event.sensitive)
        case ConfigVariableRotated() | ConfigVariableRolledBack():
            return replace(moved, version=event.version, sealed=event.sealed)
        case ConfigVariableDeleted():
            return replace(moved, sealed=None)
        case ConfigVariableVersionDestroyed():
            return moved  # never the current one
        case _:
            assert_never(event)


def _follows(state: Variable | None, event: ConfigVariableEvent) -> bool:
    """Values are numbered without a gap, a deletion names the last one, and what is sensitive stays so."""
    exists = state is not None and state.sealed is not None
    version = state.version if state else 0
    match event:
        case ConfigVariableCreated():
            return not exists and event.version == version + 1
        case ConfigVariableRotated() | ConfigVariableRolledBack():
            return exists and event.version == version + 1
        case ConfigVariableUpdated():
            return state is not None and exists and event.sensitive >= state.sensitive
        case ConfigVariableDeleted():
            return exists and event.version == version
        case ConfigVariableVersionDestroyed():
            return exists and 1 <= event.version < version
        case _:
            assert_never(event)

"""What became of the values that a name ever had."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

from libs.common.events import RecordedEvent
from libs.common.events.secret import (
    SecretCreated,
    SecretDeleted,
    SecretRolledBack,
    SecretRotated,
    SecretVersionDestroyed,
)

ValueState = Literal["current", "kept", "destroyed"]
"""A kept value is an older one that a rollback can bring back."""


def value_states(events: Iterable[RecordedEvent]) -> Mapping[int, ValueState]:
    """By the sequence of the event that brought a value, what became of it. Other events are not in it."""
    states: dict[int, ValueState] = {}
    there: dict[int, int] = {}
    current = 0
    for recorded in events:
        match recorded.event:
            case SecretCreated() | SecretRotated() | SecretRolledBack() as event:
                there[event.version] = current = recorded.sequence
                states[recorded.sequence] = "kept"
            case SecretDeleted():
                states.update(dict.fromkeys(there.values(), "destroyed"))
                there.clear()
            case SecretVersionDestroyed() as event if event.version in there:
                states[there.pop(event.version)] = "destroyed"
            case _:
                pass
    if current in there.values():
        states[current] = "current"
    return states

"""Deep rotations of an org's keys as the log knows them: each begins once and is completed once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from libs.common.decider import Decider
from libs.common.events.encryption_key import DeepRotationCompleted, DeepRotationStarted

Event = DeepRotationStarted | DeepRotationCompleted


@dataclass(frozen=True, slots=True)
class Record:
    """Put an event on record. The keyring is the authority: what it did is recorded as it is told."""

    event: Event


@dataclass(frozen=True, slots=True)
class DeepRotations:
    """Ids of those that began, and of those that are completed."""

    started: frozenset[str] = frozenset()
    completed: frozenset[str] = frozenset()


def decide(command: Record, state: DeepRotations) -> Sequence[Event]:
    known = state.started if isinstance(command.event, DeepRotationStarted) else state.completed
    return [] if command.event.rotation_id in known else [command.event]


def evolve(state: DeepRotations, event: Event) -> DeepRotations:
    if isinstance(event, DeepRotationStarted):
        return replace(state, started=state.started | {event.rotation_id})
    return replace(state, completed=state.completed | {event.rotation_id})


DEEP_ROTATION: Decider[Record, DeepRotations, Event] = Decider(DeepRotations(), decide, evolve)

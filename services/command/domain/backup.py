"""An archive as the log knows it: made once, restored any number of times."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from libs.common.decider import Decider
from libs.common.events.backup import BackupCreated, BackupEvent, BackupRestored


@dataclass(frozen=True, slots=True)
class RecordBackup:
    """Put an event on record. Who made or restored the archive is the authority on it."""

    event: BackupEvent


@dataclass(frozen=True, slots=True)
class Backup:
    created: bool = False
    restored: frozenset[BackupRestored] = frozenset()


def decide(command: RecordBackup, state: Backup) -> Sequence[BackupEvent]:
    """What is on record already is not told again."""
    event = command.event
    known = state.created if isinstance(event, BackupCreated) else event in state.restored
    return [] if known else [event]


def evolve(state: Backup, event: BackupEvent) -> Backup:
    if isinstance(event, BackupCreated):
        return replace(state, created=True)
    return replace(state, restored=state.restored | {event})


BACKUP: Decider[RecordBackup, Backup, BackupEvent] = Decider(Backup(), decide, evolve)

"""Rebuilding the log: fresh tables, filled from the streams, take the live ones' place if they prove the same."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Phase(StrEnum):
    """In this order. A rebuild that died begins again, unless it had come to ``SWAPPED``."""

    WAITING = "waiting"
    REPLAYING = "replaying"
    INDEXING = "indexing"
    COMPARING = "comparing"
    SWAPPED = "swapped"
    """The fresh tables are the log; only the event that says so is missing."""

    COMPLETED = "completed"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class RebuiltTree:
    """The signed state of a stream's log that was reproduced."""

    stream: str
    size: int
    root: bytes


@dataclass(frozen=True, slots=True)
class Rebuild:
    """``requested_by`` is ``type/id``. ``replayed`` of ``total`` entries are in the fresh tables. ``detail`` says why
    it failed; the log is then as it was."""

    id: str
    org: str
    requested_by: str
    requested_at: datetime
    phase: Phase = Phase.WAITING
    replayed: int = 0
    total: int = 0
    trees: tuple[RebuiltTree, ...] = ()
    detail: str = ""
    ended_at: datetime | None = None

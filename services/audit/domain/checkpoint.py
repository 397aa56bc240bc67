"""Signed states of the log, and when the next one is due."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(frozen=True, slots=True)
class SignedCheckpoint:
    """``note`` is what was signed, as text; ``key_id`` names the keyring's entry that signed it."""

    stream: str
    size: int
    root: bytes
    key_id: str
    note: str
    signed_at: datetime


@dataclass(frozen=True, slots=True)
class Schedule:
    """A state is signed when it is so old, or when so many entries came since the last one; never without any."""

    every: timedelta
    entries: int

    def due(self, last: SignedCheckpoint | None, size: int, now: datetime) -> bool:
        if last is None:
            return size > 0
        fresh = size - last.size
        return fresh >= self.entries or (fresh > 0 and now - last.signed_at >= self.every)

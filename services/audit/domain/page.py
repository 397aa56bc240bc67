"""Where a reader stands in the log, and what it gets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple


class EntryKey(NamedTuple):
    """The total order of the log. It never changes for an entry, so a page boundary stays where it was."""

    recorded_at: datetime
    stream: int
    sequence: int


@dataclass(frozen=True, slots=True)
class ListedEntry:
    key: EntryKey
    type: str
    body: bytes


Positions = Mapping[int, int]
"""The last sequence seen, by stream number."""


@dataclass(frozen=True, slots=True)
class Page:
    entries: Sequence[ListedEntry]
    more: bool


def within_bytes(entries: Sequence[ListedEntry], limit: int, max_bytes: int) -> Page:
    """The longest beginning of at most ``limit`` entries and ``max_bytes`` of bodies, and at least one entry."""
    size = 0
    for count, entry in enumerate(entries):
        size += len(entry.body)
        if count == limit or (count and size > max_bytes):
            return Page(entries[:count], more=True)
    return Page(entries, more=False)

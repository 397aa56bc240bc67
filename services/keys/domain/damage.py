"""What is known of a sealed value that does not open."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Damage:
    """``org``, ``kind`` and ``name`` are whose it is, not what a row that was moved may claim. ``digest`` is what the
    event that refers to it says, where that is known."""

    sealed_id: str
    org: str
    kind: str
    name: str
    why: str
    found_at: datetime
    digest: str = ""

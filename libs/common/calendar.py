"""Spans of time in UTC, and the calendar months the audit log is kept by."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple


@dataclass(frozen=True, slots=True)
class Span:
    """From ``begins`` up to, and without, ``ends``; None is no end."""

    begins: datetime
    ends: datetime | None

    def overlaps(self, other: Span) -> bool:
        return (other.ends is None or self.begins < other.ends) and (self.ends is None or other.begins < self.ends)


class Month(NamedTuple):
    """A calendar month in UTC; as text ``2026-11``."""

    year: int
    month: int

    @classmethod
    def of(cls, moment: datetime) -> Month:
        return cls(moment.year, moment.month)

    @classmethod
    def parse(cls, text: str) -> Month:
        """Raises: ValueError."""
        return cls.of(datetime.strptime(text, "%Y-%m").replace(tzinfo=UTC))

    def __str__(self) -> str:
        return f"{self.year:04}-{self.month:02}"

    @property
    def first_day(self) -> datetime:
        return datetime(self.year, self.month, 1, tzinfo=UTC)

    @property
    def following(self) -> Month:
        return Month(self.year + self.month // 12, self.month % 12 + 1)

    @property
    def span(self) -> Span:
        return Span(self.first_day, self.following.first_day)

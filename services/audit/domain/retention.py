"""How long the log is kept: when a month may go, and what holds it back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from libs.common.calendar import Month, Span

DEFAULT_DAYS: Final = 366
"""For an org that has set nothing: a year, also when it is a leap year."""


@dataclass(frozen=True, slots=True)
class Hold:
    """A span of the log that stays, however old it gets."""

    org: str
    name: str
    span: Span
    reason: str
    added_at: datetime
    added_by: str


@dataclass(frozen=True, slots=True)
class Rules:
    """``days`` is how long each org wants its entries kept, ``policies`` what its gateways ask for at least."""

    days: Mapping[str, int] = field(default_factory=dict)
    policies: Mapping[str, int] = field(default_factory=dict)
    holds: tuple[Hold, ...] = ()

    def days_of(self, org: str, *, with_policies: bool = True) -> int:
        days = self.days.get(org, DEFAULT_DAYS)
        return max(days, self.policies.get(org, 0)) if with_policies else days

    def days_for(self, orgs: Iterable[str]) -> int:
        """A month holds the entries of all orgs, so it stays as long as any of them wants."""
        return max(map(self.days_of, orgs), default=0)

    def holding(self, month: Month) -> tuple[Hold, ...]:
        return tuple(hold for hold in self.holds if hold.span.overlaps(month.span))

    def goes_at(self, month: Month, orgs: Iterable[str]) -> datetime:
        """From when on every entry of the month is older than it has to be kept."""
        return month.following.first_day + timedelta(days=self.days_for(orgs))

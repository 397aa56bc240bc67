"""Refused requests, counted: whoever floods a gateway without a credential must not fill the audit log."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from services.gateway.domain.access import RefusedRequests
from services.gateway.domain.exchange import Refusal

MAX_ADDRESSES: Final = 10
MAX_COUNTED: Final = 1000
"""Addresses told apart between two records; requests from any further one count as from elsewhere."""


@dataclass(slots=True)
class _Refused:
    first_at: int
    last_at: int
    total: int = 0
    addresses: Counter[str] = field(default_factory=Counter)


class RefusalCounter:
    def __init__(self) -> None:
        self._by_reason: dict[Refusal, _Refused] = {}

    def count(self, reason: Refusal, address: str, at: int) -> None:
        """``at`` is when, in microseconds since 1970."""
        refused = self._by_reason.setdefault(reason, _Refused(at, at))
        refused.first_at, refused.last_at = min(refused.first_at, at), max(refused.last_at, at)
        refused.total += 1
        if address in refused.addresses or len(refused.addresses) < MAX_COUNTED:
            refused.addresses[address] += 1

    def take(self) -> list[RefusedRequests]:
        """What was counted since the last time, one for each reason."""
        taken, self._by_reason = self._by_reason, {}
        return [_summary(reason, refused) for reason, refused in taken.items()]


def _summary(reason: Refusal, refused: _Refused) -> RefusedRequests:
    most = tuple(refused.addresses.most_common(MAX_ADDRESSES))
    elsewhere = refused.total - sum(count for _, count in most)
    return RefusedRequests(reason, refused.total, refused.first_at, refused.last_at, most, elsewhere)

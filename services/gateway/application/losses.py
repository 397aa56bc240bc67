"""What the proxy could not tell: its own counts compared with what arrived here."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final, Protocol

from services.gateway.application.access_log import AccessLog
from services.gateway.domain.access import Loss

EVERY_S: Final = 5.0
SETTLE_S: Final = 3.0
"""Thirty times as long as the proxy keeps what it has to tell."""

SETTLE_STEP_S: Final = 0.05


@dataclass(frozen=True, slots=True)
class ProxyCounts:
    """Since this run of the proxy began: requests it put into its queue, and those for which the queue was full."""

    run: int
    written: int
    dropped: int


class CountingProxy(Protocol):
    async def access_counts(self) -> ProxyCounts | None:
        """None while it does not answer."""


class LossWatch:
    """Losses become records of the access log, with their number."""

    def __init__(self, access: AccessLog, proxy: CountingProxy) -> None:
        self._access = access
        self._proxy = proxy
        self._before = ProxyCounts(0, 0, 0)
        self._received = 0
        self._told = 0

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(EVERY_S)
            await self.look()
            self._access.tick()

    async def look(self) -> None:
        """Compare. Two looks between which nothing arrived find what was lost on the way, exactly."""
        counts = await self._proxy.access_counts()
        if counts is None:
            return
        before = self._before
        if counts.run != before.run:
            self._restarted(before)
            before = ProxyCounts(counts.run, 0, 0)
        received = self._access.received[counts.run]
        if counts.dropped > before.dropped:
            self._access.lose(Loss.PROXY_QUEUE_FULL, counts.dropped - before.dropped)
        quiet = counts.written == before.written and received == self._received
        missing = counts.written - received - self._told
        if quiet and missing > 0:
            self._told += missing
            self._access.lose(Loss.TRANSIT_LOST, missing)
        self._before, self._received = counts, received

    async def settle(self) -> None:
        """The last look, when no more requests come: what is still on its way has so long to arrive."""
        for _ in range(round(SETTLE_S / SETTLE_STEP_S)):
            if await self._complete():
                break
            await asyncio.sleep(SETTLE_STEP_S)
        await self.look()
        await self.look()  # nothing arrives between these two

    async def _complete(self) -> bool:
        counts = await self._proxy.access_counts()
        return counts is not None and counts.written <= self._access.received[counts.run] + self._told

    def _restarted(self, before: ProxyCounts) -> None:
        """What the proxy had not sent when it ended is lost, and nobody knows how much that was."""
        missing = before.written - self._access.received.pop(before.run, 0) - self._told
        self._access.lose(Loss.PROXY_LOST, max(0, missing), exact=False)
        self._received = self._told = 0

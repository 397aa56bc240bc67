"""What happens as time passes: overlaps end, addresses that are gone are disabled, old deliveries go."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from libs.common.clock import Clock
from libs.common.errors import KtError
from services.webhooks.application.ports import Keeper, Upkeeper
from services.webhooks.domain.schedule import GONE

log = logging.getLogger(__name__)

EVERY_S: Final = 2.0
SWEEP_EVERY: Final = 30
"""Rounds between two looks for what is old."""

EXPIRES_AFTER: Final = timedelta(days=7)
"""Longer than all attempts take; what waits behind a slow address does not wait for ever. Events older than this are
not delivered at all, so that a projection made anew does not tell an address of all that ever happened."""


@dataclass(frozen=True, slots=True)
class Upkeep:
    keeper: Keeper
    upkeeper: Upkeeper
    clock: Clock
    retention: timedelta

    async def run(self) -> None:
        """Go round until cancelled."""
        turn = 0
        while True:
            try:
                await self.changes()
                if turn % SWEEP_EVERY == 0:
                    await self.sweep()
            except KtError as error:
                log.warning("upkeep.waiting", extra={"code": error.code})
            turn += 1
            await asyncio.sleep(EVERY_S)

    async def changes(self) -> None:
        for due in await self.keeper.overdue_secrets(self.clock.now()):
            await self.upkeeper.retire_secrets(due)
        for due in await self.keeper.gone():
            await self.upkeeper.disable(due, GONE)

    async def sweep(self) -> None:
        now = self.clock.now()
        expired = await self.keeper.expire(now - EXPIRES_AFTER, now)
        swept = await self.keeper.sweep(now - self.retention)
        if expired or swept:
            log.info("deliveries.swept", extra={"expired": expired, "swept": swept})

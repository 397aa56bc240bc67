"""Retention: a month goes when all of it is old enough and nobody holds it, and it goes on record first.

The record is what decides: it is written by the command service, which knows every hold of the org, and comes back
by the projection. Only then the rows are removed: a crash anywhere leaves something that the next round finishes.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import Final

from libs.common.calendar import Month
from libs.common.clock import Clock
from libs.common.errors import KtError
from libs.common.protocol.command import Retired
from services.audit.application.archiving import Archiving
from services.audit.application.keeping_ports import KeptLog, MonthContent, RetentionRecorder, SequenceRange
from services.audit.domain.retention import Rules
from services.audit.domain.streams import STREAM_NAMES

log = logging.getLogger(__name__)

ROUND_S: Final = 3600.0
SOON_S: Final = 2.0
"""Until the next round when something was put on record in this one."""


@dataclass(frozen=True, slots=True)
class Retention:
    log: KeptLog
    recorder: RetentionRecorder
    clock: Clock
    archiving: Archiving | None = None

    async def run(self) -> None:
        """Rounds until cancelled. Of several instances one works at a time."""
        while True:
            recorded = False
            try:
                async with self.log.turn() as mine:
                    if mine:
                        await self.remove()
                        recorded = bool(await self.record())
            except KtError as error:
                log.warning("retention.waiting", extra={"code": error.code, "why": error.detail})
            await asyncio.sleep(SOON_S if recorded else ROUND_S)

    async def record(self) -> list[Month]:
        """Put on record which months go now, oldest first. Returns those that were put there in this round."""
        rules, decided = await self.log.rules(), await self.log.decided()
        recorded = []
        now = self.clock.now()
        for month in await self.log.months():
            if month.following.first_day > now or rules.holding(month):
                continue
            content = await self.log.content(month)
            if rules.goes_at(month, content.orgs) > now or content.orgs <= decided.get(month, frozenset()):
                continue
            if content.gaps:
                # Rows are missing: what is left is evidence, and does not go before somebody has looked.
                log.error("retention.damaged", extra={"month": str(month), "streams": content.gaps})
                continue
            if await self._record(month, content, rules):
                recorded.append(month)
        return recorded

    async def remove(self) -> list[Month]:
        """Remove the months that are on record as gone, for every org that has entries in them."""
        removed = []
        rules, decided = await self.log.rules(), await self.log.decided()
        for month in await self.log.months():
            if month not in decided or rules.holding(month):
                continue
            if not (await self.log.content(month)).orgs <= decided[month]:
                continue
            await self.log.remove(month)
            log.warning("retention.removed", extra={"month": str(month)})
            removed.append(month)
        return removed

    async def _record(self, month: Month, content: MonthContent, rules: Rules) -> bool:
        ranges = [await self._retired(found) for found in content.ranges]
        try:
            for org in sorted(content.orgs):
                digest = await self.archiving.keep(org, month) if self.archiving else ""
                await self.recorder.record(org, month, rules.days_for(content.orgs), ranges, digest)
        except KtError as error:
            if error.code != "conflict":
                raise
            log.info("retention.held", extra={"month": str(month), "why": error.detail})
            return False
        return True

    async def _retired(self, found: SequenceRange) -> Retired:
        head = await self.log.head(found.stream)
        return Retired(
            stream=STREAM_NAMES[found.stream],
            first_sequence=found.first,
            last_sequence=found.last,
            entries=found.entries,
            tree_size=head.size,
            root=head.root.hex(),
        )

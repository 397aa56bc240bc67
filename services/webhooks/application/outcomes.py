"""How deliveries ended, put on record once each."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import Final

from libs.common.errors import KtError
from services.webhooks.application.ports import OutcomeBook, Recorder

log = logging.getLogger(__name__)

IDLE_S: Final = 0.5
RETRY_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class Outcomes:
    book: OutcomeBook
    recorder: Recorder

    async def run(self) -> None:
        """Record until cancelled."""
        while True:
            try:
                pause = 0.0 if await self.book.record_next(self.recorder) else IDLE_S
            except KtError as error:
                log.warning("outcomes.waiting", extra={"code": error.code})
                pause = RETRY_S
            await asyncio.sleep(pause)

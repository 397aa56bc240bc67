"""Running the projectors. What was damaged is told and left alone: the questions that find out where go on."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Final

from libs.common.errors import KtError
from libs.common.projection import ProjectionRunner
from libs.common.tasks import ended

log = logging.getLogger(__name__)

AGAIN_S: Final = 5.0
"""How long after damage was found it is looked whether it was repaired."""

WHOLE_S: Final = 2.0
"""A projector that runs so long has looked at what was damaged, and found it whole."""

STOP_S: Final = 5.0


class Recording:
    def __init__(self, runners: Mapping[str, ProjectionRunner]) -> None:
        """``runners`` by stream."""
        self._runners = runners
        self._halted: dict[str, str] = {}

    def halted(self, stream: str) -> str:
        """Why nothing of the stream is put on record any more; empty while it is."""
        return self._halted.get(stream, "")

    async def run(self) -> None:
        """Until cancelled."""
        await asyncio.gather(*(self._keep(stream, runner) for stream, runner in self._runners.items()))

    async def _keep(self, stream: str, runner: ProjectionRunner) -> None:
        while True:
            work = asyncio.create_task(runner.run())
            try:
                await asyncio.wait({work}, timeout=WHOLE_S)
                if not work.done():
                    self._halted.pop(stream, None)
                await work
            except KtError as error:
                extra = {"stream": stream, "code": error.code, "detail": error.detail, "hint": error.hint}
                log.error("audit.halted", extra=extra)  # noqa: TRY400 - expected, and told in full
                self._halted[stream] = error.detail
            finally:
                await ended([work], STOP_S)
            await asyncio.sleep(AGAIN_S)

"""One supervised process: started, watched, started again with back-off, until told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Final

from libs.common.errors import Exit, KtError
from libs.engines.backoff import Backoff
from libs.engines.home import ProcessState
from libs.engines.process import Process

log = logging.getLogger(__name__)

_HOPELESS: Final = frozenset({int(Exit.USAGE), int(Exit.DENIED)})
"""Exit statuses that say: starting again without a change changes nothing (bad settings, wrong master key)."""
_DEATHS_WHILE_STARTING: Final = 5


class Supervised:
    """Keeps one process alive. ``changed`` is called whenever it starts or ends."""

    def __init__(self, name: str, start: Callable[[], Awaitable[Process]], changed: Callable[[], None]) -> None:
        self.name = name
        self.process: Process | None = None
        self.restarts = 0
        self._start = start
        self._changed = changed
        self._backoff = Backoff()
        self._last_status: int | None = None
        self._watcher: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start it for the first time and watch it from then on.

        Raises:
            KtError: ``engine_failed`` when it can't be started.
        """
        self.process = await self._start()
        self._changed()
        self._watcher = asyncio.create_task(self._watch(self.process))

    async def stop(self, grace: float) -> None:
        """Stop watching, then stop the process; after ``grace`` seconds it is killed."""
        if self._watcher is not None:
            self._watcher.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watcher
        if self.process is not None:
            await self.process.stop(grace)
            self._changed()

    @property
    def state(self) -> ProcessState | None:
        if self.process is None or self.process.exit_status is not None:
            return None
        return ProcessState(self.process.pid, self.process.started, self.restarts)

    @property
    def is_hopeless(self) -> bool:
        """True when it does not come up: it died too often in a row, or said itself that a restart is no use."""
        return self._last_status in _HOPELESS or self._backoff.deaths_in_a_row >= _DEATHS_WHILE_STARTING

    async def _watch(self, process: Process) -> None:
        while True:
            await process.exited()
            self._last_status = process.exit_status
            self._backoff = self._backoff.after_death(time.time() - process.started)
            log.warning(
                "process.ended",
                extra={
                    "child": self.name,
                    "status": process.exit_status,
                    "restart_in_seconds": str(self._backoff.seconds),
                },
            )
            self._changed()
            process = await self._start_again()

    async def _start_again(self) -> Process:
        while True:
            await asyncio.sleep(self._backoff.seconds)
            self.restarts += 1
            try:
                self.process = await self._start()
            except (KtError, OSError) as error:
                # Whatever is in the way, a full disk for one, may go away; giving up would leave the process down.
                self._backoff = self._backoff.after_death(0.0)
                log.error("process.not_started", extra={"child": self.name, "detail": _reason(error)})  # noqa: TRY400
                continue
            self._changed()
            return self.process


def _reason(error: KtError | OSError) -> str:
    return error.detail if isinstance(error, KtError) else error.strerror or type(error).__name__

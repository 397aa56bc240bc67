"""Tasks that run beside a gateway's requests."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any


class Background:
    """Tasks that run as long as the gateway. One that fails ends it: nothing fails in silence."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()
        self._ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if task.cancelled() or self._ended.done():
            return
        if error := task.exception():
            self._ended.set_exception(error)

    async def until(self, stop: asyncio.Event) -> None:
        """Return when ``stop`` is set. Raises: what a task failed with."""
        self.start(self._end_after(stop))
        await self._ended

    async def _end_after(self, stop: asyncio.Event) -> None:
        await stop.wait()
        if not self._ended.done():
            self._ended.set_result(None)

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._ended.cancel()

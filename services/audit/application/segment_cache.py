"""Segments that are made or being made, a few at a time, for those who fetch them in pieces."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Final

from services.audit.application.segments import Made
from services.audit.domain.export import Export, Place

MAX_KEPT: Final = 3
"""A segment that is fetched, the one behind it, and one of somebody else; each may have 20 MB. With more exports at a
time, segments are made again when their turn comes."""

MAX_MAKING: Final = 2

Make = Callable[[Export, Place], Awaitable[Made]]


class SegmentCache:
    def __init__(self, make: Make) -> None:
        self._make = make
        self._tasks: OrderedDict[tuple[str, int], asyncio.Task[Made]] = OrderedDict()
        self._making = asyncio.Semaphore(MAX_MAKING)

    async def get(self, export: Export, place: Place) -> Made:
        """The segment, made if need be. Those in front of it are forgotten: who fetches this one has them.

        Raises:
            KtError: why it can't be made.
        """
        self.forget(export.id, before=place.number)
        key = export.id, place.number
        task = self._tasks.get(key) or self._start(export, place)
        self._tasks.move_to_end(key)
        return await asyncio.shield(task)

    def prepare(self, export: Export, place: Place) -> None:
        """Make a segment that will be asked for next, if there is room."""
        if (export.id, place.number) not in self._tasks and len(self._tasks) < MAX_KEPT:
            self._start(export, place)

    def forget(self, export_id: str, *, before: int) -> None:
        """Segments of an export with lower numbers."""
        for key in [
            key for key, task in self._tasks.items() if key[0] == export_id and key[1] < before and task.done()
        ]:
            del self._tasks[key]

    def _start(self, export: Export, place: Place) -> asyncio.Task[Made]:
        while len(self._tasks) >= MAX_KEPT:
            oldest = next((key for key, task in self._tasks.items() if task.done()), None)
            if oldest is None:
                break
            del self._tasks[oldest]
        key = export.id, place.number
        task = self._tasks[key] = asyncio.create_task(self._limited(export, place))
        task.add_done_callback(lambda done: self._forget_failed(key, done))
        return task

    async def _limited(self, export: Export, place: Place) -> Made:
        async with self._making:
            return await self._make(export, place)

    def _forget_failed(self, key: tuple[str, int], task: asyncio.Task[Made]) -> None:
        if (task.cancelled() or task.exception() is not None) and self._tasks.get(key) is task:
            del self._tasks[key]

"""Segments are made once for all their pieces, and few are in memory at a time."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import UTC, datetime

import pytest

from libs.common.errors import KtError
from libs.common.transparency.manifest import Format
from services.audit.application.segment_cache import MAX_KEPT, MAX_MAKING, SegmentCache
from services.audit.application.segments import Made
from services.audit.domain.export import Export, LogRange, Place, Segment

LOG = LogRange("KT_EVENTS", 1, 100, 100, 0, "")
WAIT_S = 5.0


def export(name: str) -> Export:
    return Export(name, "acme", Format.NDJSON, "", None, None, "admin", "a", datetime(2026, 1, 1, tzinfo=UTC), (LOG,))


def place(number: int) -> Place:
    return Place(number, LOG, number + 1, number + 1)


class Maker:
    def __init__(self) -> None:
        self.made: Counter[tuple[str, int]] = Counter()
        self.working = self.most = 0
        self.fails = False
        self.gate, self.begun, self.busy = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self.gate.set()

    async def make(self, wanted: Export, at: Place) -> Made:
        self.working += 1
        self.most = max(self.most, self.working)
        self.begun.set()
        if self.working == MAX_MAKING:
            self.busy.set()
        try:
            await self.gate.wait()
            if self.fails:
                raise KtError("log_damaged", "A row was changed.")
        finally:
            self.working -= 1
        self.made[wanted.id, at.number] += 1
        return Made(Segment(at.number, LOG.stream, at.last, None), b"", b"")


async def test_a_segment_is_made_once_for_all_its_pieces() -> None:
    maker = Maker()
    cache = SegmentCache(maker.make)

    await asyncio.gather(*(cache.get(export("a"), place(0)) for _ in range(20)))
    cache.prepare(export("a"), place(1))
    await cache.get(export("a"), place(1))

    assert maker.made == {("a", 0): 1, ("a", 1): 1}


async def test_few_are_kept_and_few_are_made_at_a_time() -> None:
    maker = Maker()
    cache = SegmentCache(maker.make)

    maker.gate.clear()
    waiting = asyncio.gather(*(cache.get(export(f"e{n}"), place(0)) for n in range(10)))
    await asyncio.wait_for(maker.busy.wait(), WAIT_S)
    maker.gate.set()
    await waiting
    assert maker.most == MAX_MAKING
    for number in range(10):
        await cache.get(export(f"f{number}"), place(0))
        cache.prepare(export(f"f{number}"), place(1))
        assert len(cache._tasks) <= MAX_KEPT


async def test_those_in_front_are_forgotten_and_can_be_had_again() -> None:
    maker = Maker()
    cache = SegmentCache(maker.make)
    for number in range(5):
        await cache.get(export("a"), place(number))
        assert len(cache._tasks) == 1

    await cache.get(export("a"), place(0))

    assert maker.made["a", 0] == 2


async def test_one_that_could_not_be_made_is_tried_again() -> None:
    maker = Maker()
    maker.fails = True
    cache = SegmentCache(maker.make)
    for _ in range(2):
        with pytest.raises(KtError, match="changed"):
            await cache.get(export("a"), place(0))
    maker.fails = False

    await cache.get(export("a"), place(0))

    assert maker.made == {("a", 0): 1}


async def test_a_caller_that_goes_away_does_not_end_the_work() -> None:
    maker = Maker()
    maker.gate.clear()
    cache = SegmentCache(maker.make)
    first = asyncio.create_task(cache.get(export("a"), place(0)))
    await asyncio.wait_for(maker.begun.wait(), WAIT_S)
    first.cancel()
    maker.gate.set()

    await asyncio.wait_for(cache.get(export("a"), place(0)), WAIT_S)

    assert maker.made == {("a", 0): 1}

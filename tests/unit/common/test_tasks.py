"""Ending tasks, also those that miss a cancellation."""

from __future__ import annotations

import asyncio

import pytest

from libs.common import tasks
from libs.common.tasks import ended, ended_meanwhile


async def for_ever(misses: int) -> None:
    while True:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            if not misses:
                raise
            misses -= 1


async def begun(*missed: int) -> list[asyncio.Task[None]]:
    started = [asyncio.create_task(for_ever(misses)) for misses in missed]
    await asyncio.sleep(0)
    return started


async def test_tasks_that_miss_a_cancellation_are_cancelled_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "_AGAIN_S", 0.01)
    started = await begun(0, 1, 3)
    assert await ended(started, 5)
    assert all(task.cancelled() for task in started)


async def test_a_task_that_will_not_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "_AGAIN_S", 0.01)
    (stubborn,) = await begun(50)
    assert not await ended([stubborn], 0.05)
    assert await ended([stubborn], 5)


async def test_nothing_to_end() -> None:
    done = asyncio.create_task(asyncio.sleep(0))
    await done
    assert await ended([done], 0)
    assert await ended([], 0)


async def test_what_has_to_end_ends_although_its_owner_is_cancelled() -> None:
    cleaned, going = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        going.set()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.05)
            cleaned.set()

    task = asyncio.create_task(work())
    await going.wait()
    owner = asyncio.create_task(ended_meanwhile([task], 5))
    for _ in range(3):
        await asyncio.sleep(0.01)
        owner.cancel()
    with pytest.raises(asyncio.CancelledError):
        await owner
    assert cleaned.is_set()
    assert task.done()


async def test_who_is_not_cancelled_hears_whether_they_ended() -> None:
    task = asyncio.create_task(asyncio.Event().wait())
    assert await ended_meanwhile([task], 5)

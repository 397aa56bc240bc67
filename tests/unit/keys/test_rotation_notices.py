"""A rotation of the master key is put on record, once for each org, whatever dies in between."""

from __future__ import annotations

import asyncio

import pytest

from libs.common.errors import KtError
from services.keys.application.notices import NoticeSender
from services.keys.application.ports import RotationNotice
from services.keys.domain.keyring import Purpose
from tests.unit.keys.support import Memory, master, start

OLD, NEW = master(1), master(2)


async def with_keys_for(memory: Memory, *orgs: str) -> None:
    instance = await start(memory.stores(), OLD)
    for org in orgs:
        await instance.keyring.current(org, Purpose.KEY_ENCRYPTION)


async def test_each_org_with_keys_gets_a_notice_that_counts_the_system_wide_keys_too() -> None:
    memory = Memory()
    await with_keys_for(memory, "acme", "umbrella")
    system_wide = len(memory.entries_) - 2
    await start(memory.stores(), NEW, (OLD,))
    told = [(n.org, n.from_fingerprint, n.to_fingerprint, n.rewrapped) for n in memory.notices]
    assert told == [(org, OLD.fingerprint, NEW.fingerprint, system_wide + 1) for org in ("acme", "umbrella")]


async def test_before_any_org_has_keys_the_first_org_is_told() -> None:
    memory = Memory()
    await with_keys_for(memory)
    await start(memory.stores(), NEW, (OLD,))
    assert [n.org for n in memory.notices] == ["default"]


async def test_a_start_without_a_rotation_tells_nothing() -> None:
    memory = Memory()
    await with_keys_for(memory, "acme")
    await start(memory.stores(), OLD)
    with pytest.raises(KtError):
        await start(memory.stores(), NEW)
    assert memory.notices == []


async def test_a_notice_is_sent_until_it_is_stored_and_then_forgotten() -> None:
    notice = RotationNotice("n1", "acme", "mk-1", "mk-2", 3)

    class Pending:
        def __init__(self) -> None:
            self.notices = [notice]

        async def pending(self) -> list[RotationNotice]:
            return list(self.notices)

        async def done(self, notice_id: str) -> None:
            self.notices = [n for n in self.notices if n.id != notice_id]
            forgotten.set()

    class Recorder:
        tries = 0

        async def record(self, notice: RotationNotice) -> None:
            self.tries += 1
            if self.tries < 3:
                raise KtError("outcome_unknown", "not sure")

    forgotten, pending, recorder = asyncio.Event(), Pending(), Recorder()
    task = asyncio.create_task(NoticeSender(pending, recorder).run(retry_s=0))
    await asyncio.wait_for(forgotten.wait(), 5)
    task.cancel()
    assert (recorder.tries, pending.notices) == (3, [])

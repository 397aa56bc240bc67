"""The event store on a real server: expectation, conflict, retry, unknown outcome."""

from __future__ import annotations

import asyncio

import pytest

from libs.common.errors import KtError
from libs.common.event_store import ConcurrencyConflict, EventStore
from tests.engines import Bus, eventually
from tests.unit.common.event_store_spec import SUBJECT, AnEventStore, an_event


class TestJetStreamStore(AnEventStore):
    @pytest.fixture
    async def store(self, nats_server: Bus) -> EventStore:
        return EventStore(await nats_server.connect("command"))


async def test_an_aggregate_longer_than_a_batch_is_loaded_whole(nats_server: Bus) -> None:
    client = await nats_server.connect("command")
    store = EventStore(client)
    js = client.jetstream()
    name, body = an_event()
    for _ in range(25):
        await asyncio.gather(*(js.publish(SUBJECT, body, headers={"Kt-Type": name}) for _ in range(90)))
    assert len(await store.load(SUBJECT)) == 25 * 90


async def test_writers_on_several_connections_exclude_each_other_too(nats_server: Bus) -> None:
    stores = [EventStore(await nats_server.connect("command")) for _ in range(4)]
    results = await asyncio.gather(
        *(stores[i % 4].append(SUBJECT, *an_event(i + 1), expected=0) for i in range(20)), return_exceptions=True
    )
    assert sorted(type(r).__name__ for r in results) == ["ConcurrencyConflict"] * 19 + ["int"]


async def test_while_disconnected_nothing_is_buffered_for_later(nats_server: Bus) -> None:
    client = await nats_server.connect("command")
    store = EventStore(client)
    await nats_server.kill()
    await eventually(lambda: not client.is_connected)
    with pytest.raises(KtError) as caught:
        await store.append(SUBJECT, *an_event(), expected=0)
    assert caught.value.code == "unavailable"
    await nats_server.restart()
    await eventually(lambda: client.is_connected)
    assert await store.load(SUBJECT) == []


async def test_a_write_cut_off_in_the_middle_is_unknown_or_stored_never_lost_in_silence(nats_server: Bus) -> None:
    client = await nats_server.connect("command")
    store = EventStore(client)
    acknowledged: list[int] = []
    sequence = 0
    writing = asyncio.Event()

    async def write() -> KtError | ConcurrencyConflict:
        nonlocal sequence
        while True:
            try:
                sequence = await store.append(SUBJECT, *an_event(len(acknowledged) + 1), expected=sequence)
            except (KtError, ConcurrencyConflict) as error:
                return error
            acknowledged.append(sequence)
            writing.set()

    task = asyncio.create_task(write())
    await asyncio.wait_for(writing.wait(), 30)
    await nats_server.kill()
    failure = await asyncio.wait_for(task, 60)
    assert isinstance(failure, KtError)
    assert failure.code in ("unavailable", "outcome_unknown")
    await nats_server.restart()
    await eventually(lambda: client.is_connected)
    stored = [e.sequence for e in await store.load(SUBJECT)]
    assert stored[: len(acknowledged)] == acknowledged
    assert len(stored) - len(acknowledged) in (0, 1)

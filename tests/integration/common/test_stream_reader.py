"""Following a stream: in order, without gaps, no further ahead than its reader can hold, on either kind of client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from nats.aio.client import Client

from libs.common import stream_reader
from libs.common.access_log import AccessLog
from libs.common.messaging.bulk import bulk_connection
from libs.common.messaging.connection import ConnectionGuard
from libs.common.stream_reader import OrderedReader, StreamGap, read_stream
from libs.common.subjects import ACCESS, ALL_ACCESS, access_subject
from tests.engines import Bus, eventually

SUBJECT = access_subject("acme", "thing", "A")
both_clients = pytest.mark.parametrize("kind", ["plain", "bulk"])


@asynccontextmanager
async def connected(bus: Bus, kind: str) -> AsyncIterator[Client]:
    if kind == "plain":
        yield await bus.connect("resolver")
    else:
        async with bulk_connection("resolver", bus.url, bus.creds("resolver"), ConnectionGuard()) as client:
            yield client


async def publish(bus: Bus, count: int, start: int = 1) -> None:
    client = await bus.connect("resolver")
    await AccessLog(client).record([(SUBJECT, str(n).encode()) for n in range(start, start + count)])


async def take(reader: OrderedReader, count: int, limit: int = 1000) -> list[tuple[int, bytes]]:
    found: list[tuple[int, bytes]] = []
    while len(found) < count:
        messages = await reader.batch(limit, 5.0)
        assert messages
        assert len(messages) <= limit
        found += [(message.sequence, message.body) for message in messages]
    return found


@both_clients
async def test_messages_come_whole_and_in_order_from_where_reading_begins(nats_server: Bus, kind: str) -> None:
    await publish(nats_server, 1200)
    async with connected(nats_server, kind) as client, read_stream(client, ACCESS, ALL_ACCESS, 201) as reader:
        assert await take(reader, 1000, limit=77) == [(n, str(n).encode()) for n in range(201, 1201)]
        assert await reader.batch(10, 0.05) == []
        await publish(nats_server, 3, 1201)
        (first, *_) = await reader.batch(10, 5.0)
        stored = await client.jetstream().get_msg(ACCESS, seq=1201, direct=True)
        assert (first.subject, first.sequence) == (SUBJECT, 1201)
        assert stored.time is not None
        assert first.time_ns // 1000 == int(stored.time.timestamp() * 1_000_000)


@both_clients
async def test_no_more_is_sent_than_the_reader_can_hold(
    nats_server: Bus, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream_reader, "WINDOW", 100)
    await publish(nats_server, 1000)
    async with connected(nats_server, kind) as client, read_stream(client, ACCESS, ALL_ACCESS, 1) as reader:
        before = client.stats["in_msgs"]
        found = await take(reader, 1, limit=1)
        await asyncio.sleep(0.2)  # what must not happen can only be given time to
        if kind == "plain":
            assert client.stats["in_msgs"] - before <= 100
        assert len(reader._arrived) < 100
        found += await take(reader, 999, limit=13)
        assert [sequence for sequence, _ in found] == list(range(1, 1001))


async def test_a_request_that_expired_is_made_anew(nats_server: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_reader, "_REQUEST_S", 0.2)
    client = await nats_server.connect("resolver")
    async with read_stream(client, ACCESS, ALL_ACCESS, 1) as reader:
        for round_number in range(3):
            for _ in range(4):
                assert await reader.batch(10, 0.1) == []
            await publish(nats_server, 2, round_number * 2 + 1)
            assert [sequence for sequence, _ in await take(reader, 2)] == [round_number * 2 + 1, round_number * 2 + 2]


async def test_a_consumer_that_is_gone_ends_the_reading(nats_server: Bus) -> None:
    client = await nats_server.connect("resolver")
    js = client.jetstream()
    async with read_stream(client, ACCESS, ALL_ACCESS, 1) as reader:
        assert await reader.batch(10, 0.1) == []
        name = reader._source.rpartition(".")[2]
        await js.delete_consumer(ACCESS, name)
        with pytest.raises(StreamGap):
            await reader.batch(10, 5.0)


async def test_a_request_without_any_answer_ends_the_reading(
    nats_server: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream_reader, "_LATE_S", 0.1)
    client = await nats_server.connect("resolver")
    async with read_stream(client, ACCESS, ALL_ACCESS, 1) as reader:
        assert await reader.batch(10, 0.1) == []
        monkeypatch.setattr(reader, "_answer_due", 0.0)
        with pytest.raises(StreamGap):
            await reader.batch(10, 0.1)


async def test_messages_before_a_gap_are_handed_out_first(nats_server: Bus) -> None:
    await publish(nats_server, 5)
    client = await nats_server.connect("resolver")
    async with read_stream(client, ACCESS, ALL_ACCESS, 1) as reader:
        await reader.batch(1, 5.0)
        await eventually(lambda: len(reader._arrived) == 4)
        del reader._arrived[2]
        assert [m.sequence for m in await reader.batch(10, 1.0)] == [2, 3]
        with pytest.raises(StreamGap):
            await reader.batch(10, 1.0)


async def test_cancelling_a_wait_is_not_lost_when_a_message_arrives_at_that_moment(nats_server: Bus) -> None:
    client = await nats_server.connect("resolver")
    async with read_stream(client, ACCESS, ALL_ACCESS, 1) as reader:
        for _ in range(20):
            waiting = asyncio.create_task(reader.batch(10, 5.0))
            await asyncio.sleep(0)
            await eventually(lambda: reader._asked > 0)
            waiting.cancel()
            reader._waiting.set()
            with pytest.raises(asyncio.CancelledError):
                await waiting

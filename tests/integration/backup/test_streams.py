"""Streams leave a server as a snapshot and come back the same: sequences, times, bytes."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest
from nats.aio.client import Client

from libs.backup import streams
from libs.backup.streams import ContentDigest, Snapshot, read, restore, snapshot
from libs.common.direct_get import StoredMessage
from libs.common.errors import KtError
from libs.common.messaging.bulk import BulkClient, bulk_connection
from libs.common.subjects import ACCESS, ALL_ACCESS, ALL_EVENTS, EVENTS, access_subject, event_subject
from libs.engines.permissions import BACKUP, PROVISIONER
from libs.engines.streams import STREAMS, provision_streams, remove_empty_stream
from tests.engines import Bus, running_nats


@asynccontextmanager
async def as_identity(bus: Bus, name: str) -> AsyncIterator[BulkClient]:
    async with bulk_connection(name, bus.url, bus.creds(name), streams.QuietGuard()) as nc:
        yield nc


async def publish(nc: Client, count: int, size: int = 100) -> None:
    js = nc.jetstream()
    for number in range(count):
        subject = event_subject("default", "config_variable", f"A{number % 7}")
        await js.publish(subject, b"%06d" % number + os.urandom(size), headers={"Kt-Type": "kt.test.v1"})


async def taken(bus: Bus, stream: str) -> tuple[Snapshot, list[bytes]]:
    async with as_identity(bus, BACKUP) as nc, snapshot(nc, stream) as (found, chunks):
        return found, [chunk async for chunk in chunks]


async def put_back(bus: Bus, stream: str, found: Snapshot, chunks: list[bytes]) -> Snapshot:
    async with as_identity(bus, PROVISIONER) as nc:
        await remove_empty_stream(nc, stream)
        config = {**STREAMS[stream], "num_replicas": 1}
        return await restore(nc, stream, config, found.state, chunks)


async def everything(bus: Bus, stream: str, subject: str, first: int, last: int) -> list[StoredMessage]:
    async with as_identity(bus, BACKUP) as nc:
        return [message async for batch in read(nc, stream, subject, first, last) for message in batch]


async def test_a_stream_comes_back_with_sequences_times_and_bytes_while_it_is_written(
    nats_server: Bus, tmp_path: Path
) -> None:
    writer = await nats_server.connect("command")
    await publish(writer, 500, size=6000)
    writing = asyncio.create_task(publish(writer, 100_000, size=6000))
    try:
        found, chunks = await taken(nats_server, EVENTS)
    finally:
        writing.cancel()
    assert found.first == 1
    assert found.last >= 500
    async with running_nats(tmp_path / "other") as other:
        restored = await put_back(other, EVENTS, found, chunks)
        assert (restored.first, restored.last, restored.messages) == (1, found.last, found.messages)
        before = await everything(nats_server, EVENTS, ALL_EVENTS, 1, found.last)
        after = await everything(other, EVENTS, ALL_EVENTS, 1, found.last)
        assert before == after
        assert all(message.time_ns for message in after)
        assert digest(before) == digest(after)
        # It is the stream that provisioning would have made, and writing goes on where it ended.
        await provision_streams(other.url, credentials(other))
        ack = (
            await (await other.connect("command"))
            .jetstream()
            .publish(event_subject("default", "config_variable", "A"), b"next")
        )
        assert ack.seq == found.last + 1


def credentials(bus: Bus) -> Any:
    from libs.common.messaging.identities import read_credentials  # noqa: PLC0415

    return read_credentials(bus.creds(PROVISIONER))


def digest(messages: Sequence[StoredMessage]) -> Any:
    made = ContentDigest(messages[0].sequence)
    made.update(messages)
    return made.segments()


async def test_a_stream_whose_front_has_expired_keeps_its_sequences(nats_server: Bus, tmp_path: Path) -> None:
    admin = await nats_server.connect(PROVISIONER)
    await remove_empty_stream(admin, ACCESS)
    config = {"name": ACCESS, "first_seq": 1000, **STREAMS[ACCESS]}
    made = await admin.request(f"$JS.API.STREAM.CREATE.{ACCESS}", orjson.dumps(config), timeout=5)
    assert "error" not in orjson.loads(made.data)
    js = (await nats_server.connect("resolver")).jetstream()
    for number in range(3):
        await js.publish(access_subject("default", "config_variable", "A"), str(number).encode())
    found, chunks = await taken(nats_server, ACCESS)
    assert (found.first, found.last) == (1000, 1002)
    async with running_nats(tmp_path / "other") as other:
        assert (await put_back(other, ACCESS, found, chunks)).first == 1000
        assert [m.sequence for m in await everything(other, ACCESS, ALL_ACCESS, 1000, 1002)] == [1000, 1001, 1002]


async def test_an_empty_stream_and_a_filled_one_that_is_in_the_way(nats_server: Bus, tmp_path: Path) -> None:
    found, chunks = await taken(nats_server, EVENTS)
    assert (found.first, found.last) == (1, 0)
    async with running_nats(tmp_path / "other") as other:
        assert (await put_back(other, EVENTS, found, chunks)).last == 0
        assert await everything(other, EVENTS, ALL_EVENTS, 1, 0) == []
        await publish(await other.connect("command"), 1)
        with pytest.raises(KtError) as refused:
            await put_back(other, EVENTS, found, chunks)
        assert refused.value.code == "already_exists"


async def test_half_a_snapshot_makes_no_stream(nats_server: Bus, tmp_path: Path) -> None:
    await publish(await nats_server.connect("command"), 300, size=6000)
    found, chunks = await taken(nats_server, EVENTS)
    async with running_nats(tmp_path / "other") as other:
        with pytest.raises(KtError) as refused:
            await put_back(other, EVENTS, found, chunks[:1])
        assert refused.value.code == "engine_failed"


async def test_reading_to_a_message_that_is_not_there_is_damage(
    nats_server: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "_CHUNK_S", 0.2)
    await publish(await nats_server.connect("command"), 3)
    with pytest.raises(KtError, match="message 4 is missing") as damaged:
        await everything(nats_server, EVENTS, ALL_EVENTS, 1, 4)
    assert damaged.value.code == "stream_damaged"


def test_segments_end_at_fixed_sequences_so_that_the_rest_can_be_compared_when_the_front_is_gone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(streams, "SEGMENT", 10)
    messages = [StoredMessage("kt.access.v1.default.a.b", sequence, b"x") for sequence in range(7, 34)]
    whole = digest(messages)
    assert [(s.first, s.through) for s in whole] == [(7, 10), (11, 20), (21, 30), (31, 33)]
    assert digest(messages[14:]) == whole[2:]
    assert digest([*messages[:5], messages[5]._replace(body=b"y"), *messages[6:]])[1] != whole[1]

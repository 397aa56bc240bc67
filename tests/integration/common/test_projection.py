"""The projection runner: exactly once, whatever stops when; and it refuses a stream that is not the one it knows."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import orjson
import psycopg
import pytest
from nats.aio.client import Client

from libs.common import projection
from libs.common.direct_get import StoredMessage
from libs.common.errors import KtError
from libs.common.postgres import Connection, Pool, open_pool
from libs.common.projection import ProjectionRunner
from libs.common.stream_reader import stream_range
from libs.common.subjects import ACCESS, ALL_ACCESS, ALL_EVENTS, EVENTS, access_subject, event_subject
from libs.common.tasks import ended
from libs.engines.permissions import PROVISIONER
from tests.engines import Bus, Database, eventually


class Numbers:
    """Writes each message's sequence once; a second time would violate the primary key."""

    name = "test.numbers"
    stream = ACCESS
    subject = ALL_ACCESS

    def __init__(self, *, fail_at: int = 0) -> None:
        self.fail_at = fail_at

    async def apply(self, connection: Connection, messages: Sequence[StoredMessage]) -> None:
        for message in messages:
            if message.sequence == self.fail_at:
                self.fail_at = 0
                raise psycopg.OperationalError("broken on purpose")
            await connection.execute("INSERT INTO numbers VALUES (%s, %s)", (message.sequence, message.body))


@asynccontextmanager
async def numbers_pool(postgres: Database) -> AsyncIterator[Pool]:
    async with open_pool(postgres.dsn("audit"), "audit") as pool:
        async with pool.connection() as connection:
            await connection.execute("CREATE TABLE IF NOT EXISTS numbers (n bigint PRIMARY KEY, body bytea NOT NULL)")
        yield pool


async def publish(client: Client, count: int, start: int = 0) -> None:
    js = client.jetstream()
    for i in range(start, start + count):
        await js.publish(access_subject("acme", "config_variable", "A"), str(i).encode())


async def rows(pool: Pool) -> list[int]:
    async with pool.connection() as connection:
        cursor = await connection.execute("SELECT n FROM numbers ORDER BY n")
        return [row[0] for row in await cursor.fetchall()]


@asynccontextmanager
async def running(runner: ProjectionRunner) -> AsyncIterator[asyncio.Task[Any]]:
    task = asyncio.create_task(runner.run())
    try:
        yield task
    finally:
        assert await ended([task], 10)


async def test_every_message_is_projected_once_across_restarts_and_failures(
    nats_server: Bus, postgres: Database
) -> None:
    client = await nats_server.connect("resolver")
    async with numbers_pool(postgres) as pool:
        for round_number in range(4):
            await publish(client, 30, round_number * 30)
            runner = ProjectionRunner(client, pool, Numbers(fail_at=round_number * 30 + 7))
            async with running(runner):
                assert await runner.wait_for(round_number * 30 + 30, 30)
        assert await rows(pool) == list(range(1, 121))


async def test_of_two_runners_one_works_and_the_other_takes_over(nats_server: Bus, postgres: Database) -> None:
    client = await nats_server.connect("resolver")
    async with numbers_pool(postgres) as pool:
        first, second = (ProjectionRunner(client, pool, Numbers()) for _ in range(2))
        await publish(client, 20)
        async with running(second):
            async with running(first):
                assert await first.wait_for(20, 30)
                assert await second.wait_for(20, 30)
            await publish(client, 20, 20)
            assert await second.wait_for(40, 30)
        assert await rows(pool) == list(range(1, 41))


async def test_it_goes_on_behind_a_crash_of_the_server(nats_server: Bus, postgres: Database) -> None:
    client = await nats_server.connect("resolver")
    async with numbers_pool(postgres) as pool:
        runner = ProjectionRunner(client, pool, Numbers())
        async with running(runner):
            await publish(client, 10)
            assert await runner.wait_for(10, 30)
            await nats_server.kill()
            await nats_server.restart()
            await eventually(lambda: client.is_connected)
            await publish(client, 10, 10)
            assert await runner.wait_for(20, 20)
        assert await rows(pool) == list(range(1, 21))


async def test_a_stream_that_is_shorter_than_the_checkpoint_is_refused(nats_server: Bus, postgres: Database) -> None:
    client = await nats_server.connect("resolver")
    async with numbers_pool(postgres) as pool:
        await publish(client, 5)
        async with pool.connection() as connection:
            await connection.execute("INSERT INTO checkpoints VALUES ('test.numbers', 6, '')")
        with pytest.raises(KtError, match="ends at 5") as caught:
            await asyncio.wait_for(ProjectionRunner(client, pool, Numbers()).run(), 30)
        assert caught.value.code == "stream_damaged"


async def test_a_sequence_that_holds_other_bytes_is_refused(nats_server: Bus, postgres: Database) -> None:
    client = await nats_server.connect("resolver")
    async with numbers_pool(postgres) as pool:
        await publish(client, 5)
        async with pool.connection() as connection:
            await connection.execute("INSERT INTO checkpoints VALUES ('test.numbers', 5, %s)", (b"\0" * 32,))
        with pytest.raises(KtError, match="other bytes at 5") as caught:
            await asyncio.wait_for(ProjectionRunner(client, pool, Numbers()).run(), 30)
        assert caught.value.code == "stream_damaged"


async def test_waiting_for_what_does_not_come_ends(nats_server: Bus, postgres: Database) -> None:
    client = await nats_server.connect("resolver")
    async with numbers_pool(postgres) as pool:
        assert not await ProjectionRunner(client, pool, Numbers()).wait_for(1, 0.2)


async def emptied(bus: Bus, stream: str, **limits: object) -> None:
    """Let messages go as the server does it, then set the stream's configuration back to what it was."""
    provisioner = await bus.connect(PROVISIONER)

    async def update(changes: dict[str, object]) -> None:
        reply = await provisioner.request(f"$JS.API.STREAM.UPDATE.{stream}", orjson.dumps({**config, **changes}))
        assert "error" not in orjson.loads(reply.data)

    async def state() -> dict[str, Any]:
        info: dict[str, Any] = orjson.loads((await provisioner.request(f"$JS.API.STREAM.INFO.{stream}")).data)
        return info

    async def gone() -> bool:
        return int((await state())["state"]["messages"]) <= 1

    config = (await state())["config"]
    await update(limits)
    await eventually(gone)
    await update({})


async def test_what_expired_before_it_was_seen_is_passed_over(
    nats_server: Bus, postgres: Database, caplog: pytest.LogCaptureFixture
) -> None:
    client = await nats_server.connect("resolver")
    await publish(client, 3)
    await emptied(nats_server, ACCESS, max_age=10**9, duplicate_window=10**9)
    async with numbers_pool(postgres) as pool:
        async with running(runner := ProjectionRunner(client, pool, Numbers())):
            assert await runner.wait_for(3, 30)
        async with running(runner := ProjectionRunner(client, pool, Numbers())):
            assert await runner.wait_for(3, 30)
            await publish(client, 1, 3)
            assert await runner.wait_for(4, 30)
        assert [record.message for record in caplog.records].count("projection.expired_unseen") == 1
        assert await rows(pool) == [4]


async def test_events_that_are_missing_from_a_stream_without_expiry_are_not_passed_over(
    nats_server: Bus, postgres: Database
) -> None:
    class Events(Numbers):
        stream = EVENTS
        subject = ALL_EVENTS

    js = (await nats_server.connect("command")).jetstream()
    for number in range(3):
        await js.publish(event_subject("acme", "config_variable", "A"), str(number).encode())
    await emptied(nats_server, EVENTS, max_msgs=1, discard="old")
    async with numbers_pool(postgres) as pool:
        runner = ProjectionRunner(await nats_server.connect("resolver"), pool, Events())
        with pytest.raises(KtError, match="begins at 3") as caught:
            await asyncio.wait_for(runner.run(), 30)
        assert caught.value.code == "stream_damaged"


async def test_a_message_that_is_stored_while_the_end_is_looked_up_is_no_gap(
    nats_server: Bus, postgres: Database, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(projection, "IDLE_S", 0.05)
    client = await nats_server.connect("resolver")
    looked = 0

    async def stored_meanwhile(nc: Client, stream: str) -> tuple[int, int]:
        nonlocal looked
        looked += 1
        if 2 < looked < 8:
            await publish(client, 1, looked)
        return await stream_range(nc, stream)

    monkeypatch.setattr(projection, "stream_range", stored_meanwhile)
    async with numbers_pool(postgres) as pool:
        runner = ProjectionRunner(client, pool, Numbers())
        async with running(runner):
            await eventually(lambda: looked > 8)
            assert await runner.wait_for(5, 30)
    assert "projection.restarted" not in [record.message for record in caplog.records]

"""Every message of both streams is on record exactly once, with its exact bytes, whatever is killed when."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Sequence

import psycopg
import pytest

from libs.common.calendar import Month
from libs.common.direct_get import StoredMessage
from libs.common.errors import KtError
from libs.common.postgres import Connection
from libs.common.projection import ProjectionRunner
from libs.common.subjects import ACCESS, ALL_ACCESS, EVENTS, access_subject
from services.audit.adapters.entries_projection import EntriesProjection
from services.audit.adapters.partitions import Partitions
from tests.engines import Bus, Database, eventually
from tests.integration.audit.log import Log, lose, open_log, reach, remake, running

NOVEMBER_NS = 1_795_419_543_192_164_999
"""2026-11-23T07:39:03.192164999Z"""


async def test_both_streams_are_on_record_byte_for_byte(nats_server: Bus, postgres: Database) -> None:
    async with open_log(nats_server, postgres) as log, log.projecting() as runners:
        for _ in range(5):
            await log.append("A", times=3)
            await log.record(20)
        for stream, runner in runners.items():
            await reach(runner, await log.end(stream))
        stored = [(1, *message) for message in await log.messages(EVENTS)]
        stored += [(2, *message) for message in await log.messages(ACCESS)]
        assert await log.rows("SELECT stream, sequence, body FROM entries ORDER BY stream, sequence") == stored
        assert len(stored) == 15 + 100


async def test_the_time_of_an_entry_is_the_servers(nats_server: Bus, postgres: Database) -> None:
    async with open_log(nats_server, postgres) as log:
        await log.append("A")
        await log.project()
        message = await log.bulk.jetstream().get_msg(EVENTS, seq=1, direct=True)
        assert message.time is not None
        assert await log.rows("SELECT recorded_at FROM entries") == [(message.time,)]


async def test_nothing_on_the_streams_is_nothing_on_record(nats_server: Bus, postgres: Database) -> None:
    async with open_log(nats_server, postgres) as log:
        await log.project()
        assert await log.table() == []


async def test_projecting_twice_gives_the_same_rows(nats_server: Bus, postgres: Database) -> None:
    async with open_log(nats_server, postgres) as log:
        await log.append("A", times=10)
        await log.record(300)
        await log.project()
        first = await log.table()
        async with await psycopg.AsyncConnection.connect(postgres.admin_dsn, autocommit=True) as admin:
            await admin.execute("TRUNCATE audit.entries, audit.tiles, audit.checkpoints")
        await log.project()
        assert len(first) == 310
        assert await log.table() == first


async def test_a_projector_that_is_cancelled_at_any_point_neither_repeats_nor_skips(
    nats_server: Bus, postgres: Database
) -> None:
    chance = random.Random(2026)
    async with open_log(nats_server, postgres) as log:
        for _ in range(12):
            await log.record(500)
        kills = 0
        while True:
            runner = log.runner(ACCESS, batch=chance.choice((50, 400, 4000)))
            async with running([runner]):
                if await runner.wait_for(6000, chance.uniform(0.005, 0.05) + kills * 0.002):
                    break
            kills += 1
        assert kills
        assert await log.rows("SELECT count(*), count(DISTINCT sequence), max(sequence) FROM entries") == [
            (6000,) * 3
        ]


async def test_what_is_no_event_neither_stops_the_projector_nor_is_lost(
    nats_server: Bus, postgres: Database, caplog: pytest.LogCaptureFixture
) -> None:
    bodies = [b"", b"\xff\x00\xfe", b'{"data":1}', b"[]", b'{"id":"\\u0000"}', b"x" * 100_000]
    async with open_log(nats_server, postgres) as log:
        with caplog.at_level(logging.ERROR):
            for body in bodies:
                await log.put(access_subject("acme", "thing", "A"), body)
            await log.record(1)
            await log.project(ACCESS)
        assert await log.rows("SELECT body FROM entries WHERE type = '' ORDER BY sequence") == [(b,) for b in bodies]
        assert await log.rows("SELECT DISTINCT org, actor, category FROM entries WHERE type = ''") == [
            ("acme", "", "")
        ]
        assert await log.rows("SELECT count(*) FROM entries WHERE type <> ''") == [(1,)]
    logged = [vars(record)["sequences"] for record in caplog.records if record.message == "audit.unknown_events"]
    assert [sequence for sequences in logged for sequence in sequences] == [1, 2, 3, 4, 5, 6]


async def test_oversized_and_unstorable_text_does_not_stop_the_projector(
    nats_server: Bus, postgres: Database
) -> None:
    async with open_log(nats_server, postgres) as log:
        body = log.resolution("A", "acme", "edge-1")
        longer = [body.replace(b"edge-1", ("ü" * 12_000).encode()), body.replace(b"edge-1", b"a\\u0000b")]
        for altered in longer:
            await log.put(access_subject("acme", "config_variable", "A"), altered)
        await log.project(ACCESS)
        rows = await log.rows("SELECT actor, body FROM entries ORDER BY sequence")
        assert [row[1] for row in rows] == longer
        assert [row[0] for row in rows] == ["ü" * 256, "a\N{REPLACEMENT CHARACTER}b"]


async def test_a_stream_that_lost_its_end_is_refused(nats_server: Bus, postgres: Database) -> None:
    async with open_log(nats_server, postgres) as log:
        await log.append("A", times=3)
        await log.project(EVENTS)
        await log.rows("UPDATE checkpoints SET sequence = 4 WHERE projection = 'audit/KT_EVENTS'")
        with pytest.raises(KtError) as caught:
            await asyncio.wait_for(log.runner(EVENTS).run(), 30)
        assert caught.value.code == "stream_damaged"


async def test_a_stream_that_becomes_shorter_under_a_running_projector_is_refused(
    nats_server: Bus, postgres: Database
) -> None:
    async with open_log(nats_server, postgres) as log:
        await log.append("A", times=3)
        runner = log.runner(EVENTS)
        task = asyncio.create_task(runner.run())
        await reach(runner, 3)
        await remake(nats_server, EVENTS)
        with pytest.raises(KtError) as caught:
            await asyncio.wait_for(task, 30)
        assert caught.value.code == "stream_damaged"


async def test_a_hole_in_the_stream_is_refused_after_what_comes_before_it(
    nats_server: Bus, postgres: Database
) -> None:
    async with open_log(nats_server, postgres) as log:
        await remake(nats_server, ACCESS, deny_delete=False)
        await log.record(6)
        await lose(nats_server, ACCESS, 3)
        with pytest.raises(KtError, match="does not hold 3") as caught:
            await asyncio.wait_for(log.runner(ACCESS).run(), 30)
        assert caught.value.code == "stream_damaged"
        assert await log.rows("SELECT sequence FROM entries ORDER BY 1") == [(1,), (2,)]


async def test_a_stream_whose_oldest_messages_have_expired_is_projected_from_where_it_begins(
    nats_server: Bus, postgres: Database, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_log(nats_server, postgres) as log:
        await remake(nats_server, ACCESS, deny_delete=False)
        await log.record(5)
        await lose(nats_server, ACCESS, 1, 2)
        await log.project(ACCESS)
        assert await log.rows("SELECT sequence FROM entries ORDER BY 1") == [(3,), (4,), (5,)]
    (record,) = (r for r in caplog.records if r.message == "projection.expired_unseen")
    assert (vars(record)["from_sequence"], vars(record)["to_sequence"]) == (1, 2)


class FromTheseMonths(EntriesProjection):
    """Gives messages the times they would have had."""

    def __init__(self, log: Log, times_ns: Sequence[int]) -> None:
        super().__init__(ACCESS, ALL_ACCESS, log.tree(ACCESS))
        self._times = times_ns

    async def apply(self, connection: Connection, messages: Sequence[StoredMessage]) -> None:
        await super().apply(connection, [m._replace(time_ns=self._times[m.sequence - 1]) for m in messages])


async def _partitions(log: Log) -> list[str]:
    rows = await log.rows("SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'entries'::regclass")
    return sorted(row[0] for row in rows)


async def test_months_are_made_when_they_come_and_one_ahead(nats_server: Bus, postgres: Database) -> None:
    day = 86_400 * 10**9
    times = [NOVEMBER_NS, NOVEMBER_NS - 400 * day, NOVEMBER_NS + 10 * day, NOVEMBER_NS]
    async with open_log(nats_server, postgres) as log:
        await log.record(4)
        runner = ProjectionRunner(log.bulk, log.pool, FromTheseMonths(log, times), batch=1)
        async with running([runner]):
            await reach(runner, 4)
        assert await _partitions(log) == [
            f"entries_{month}" for month in ("2025_10", "2025_11", "2026_11", "2026_12", "2027_01")
        ]
        times_found = await log.rows("SELECT recorded_at FROM entries ORDER BY sequence")
        assert [t[0].isoformat() for t in times_found[:2]] == [
            "2026-11-23T07:39:03.192164+00:00",
            "2025-10-19T07:39:03.192164+00:00",
        ]


async def test_a_month_that_was_dropped_is_made_again_when_it_is_needed(nats_server: Bus, postgres: Database) -> None:
    async with open_log(nats_server, postgres) as log:
        runner = ProjectionRunner(log.bulk, log.pool, FromTheseMonths(log, [NOVEMBER_NS] * 9), batch=1)
        async with running([runner]):
            await log.record(3)
            await reach(runner, 3)
            await log.rows("DROP TABLE entries_2026_11")
            await log.record(1)
            await reach(runner, 4)
        assert await log.rows("SELECT sequence FROM entries") == [(4,)]


async def test_two_projectors_that_need_the_same_month_do_not_get_in_each_others_way(
    nats_server: Bus, postgres: Database
) -> None:
    months = [Month(2030, month) for month in range(1, 13)]
    async with open_log(nats_server, postgres) as log:

        async def make() -> None:
            async with log.pool.connection() as connection, connection.transaction():
                await Partitions("entries").ensure(connection, months)

        await asyncio.wait_for(asyncio.gather(*(make() for _ in range(6))), 30)
        assert len(await _partitions(log)) == 12


async def test_a_month_made_by_another_session_is_seen(nats_server: Bus, postgres: Database) -> None:
    month = Month(2030, 1)
    async with open_log(nats_server, postgres) as log, log.pool.connection() as late, late.transaction():
        await late.execute("SELECT to_regclass('entries_2030_01')")  # this session remembers that there is none
        async with log.pool.connection() as early, early.transaction():
            await Partitions("entries").ensure(early, [month])
        await Partitions("entries").ensure(late, [month])


async def test_a_reader_in_the_middle_of_a_long_query_does_not_hold_up_a_new_month(
    nats_server: Bus, postgres: Database
) -> None:
    async with open_log(nats_server, postgres) as log, log.pool.connection() as reader, reader.transaction():
        await reader.execute("SELECT count(*) FROM entries")
        await log.record(1)
        await log.project(ACCESS)


async def test_the_service_can_not_change_or_delete_what_is_on_record(nats_server: Bus, postgres: Database) -> None:
    async with open_log(nats_server, postgres) as log:
        await log.record(1)
        await log.project(ACCESS)
        (partition, _) = await _partitions(log)
        for table in ("entries", partition):
            for statement in ("UPDATE {} SET body = ''", "DELETE FROM {}", "TRUNCATE {}"):
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    await log.rows(statement.format(table))


async def test_it_goes_on_after_the_bus_and_the_database_crashed(nats_server: Bus, postgres: Database) -> None:
    async with open_log(nats_server, postgres) as log, log.projecting(ACCESS) as runners:
        await log.record(50)
        await nats_server.kill()
        await nats_server.restart()
        await eventually(lambda: log.access.is_connected and log.bulk.is_connected)
        async with await psycopg.AsyncConnection.connect(postgres.admin_dsn, autocommit=True) as admin:
            await admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'kt_audit'")
        await log.record(50)
        await reach(runners[ACCESS], 100)
        assert await log.rows("SELECT count(*), max(sequence) FROM entries") == [(100, 100)]

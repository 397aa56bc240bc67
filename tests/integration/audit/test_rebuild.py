"""The log made anew from the streams: the same as before or not at all, while everything else goes on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from libs.common.errors import KtError
from libs.common.postgres import Pool
from libs.common.projection import ProjectionRunner
from libs.common.protocol import audit as protocol
from libs.common.subjects import ACCESS, EVENTS
from libs.common.tasks import ended
from services.audit.adapters.fresh_log import PostgresFreshLog
from services.audit.adapters.kept_log import PostgresKeptLog
from services.audit.adapters.rebuilds import PostgresRebuilds
from services.audit.adapters.signed_checkpoints import PostgresCheckpoints
from services.audit.adapters.tree import stored_root, stored_size
from services.audit.application.rebuilding import Rebuilding
from services.audit.application.retention import Retention
from services.audit.domain.checkpoint import SignedCheckpoint
from services.audit.domain.rebuild import Rebuild, RebuiltTree
from services.audit.domain.streams import STREAM_NUMBERS
from tests.engines import Bus, Database, eventually
from tests.integration.audit.log import SUBJECTS, reach, remake, running
from tests.integration.audit.test_retention import DirectRecorder, World, ago, caller, world

KEY = "0190f5a0-0000-7000-8000-000000000001"
ID = "0190f5a0-0000-7000-8000-000000000002"
TABLES = ("entries", "tiles", "unseen", "retention", "holds", "retired")


@dataclass
class Recorded:
    """What is put on record at the end."""

    rebuilds: list[tuple[str, Sequence[RebuiltTree]]] = field(default_factory=list)

    async def record(self, rebuild: Rebuild, trees: Sequence[RebuiltTree]) -> None:
        self.rebuilds.append((rebuild.id, trees))


@dataclass
class Rebuilt:
    """A log to rebuild, and the service's part that does it."""

    world: World
    rebuilding: Rebuilding
    recorded: Recorded
    conninfo: str

    async def ask(self, id_: str = ID) -> protocol.RebuildView:
        return await self.rebuilding.request("", protocol.StartRebuild(command_id=id_, caller=caller()))

    async def look(self) -> protocol.RebuildView:
        return await self.rebuilding.look("", protocol.GetRebuild(org="acme"))

    @asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.rebuilding.run())
        try:
            yield
        finally:
            assert await ended([task], 30)

    async def until_ended(self) -> protocol.RebuildView:
        return await self.until("completed", "failed")

    async def until(self, *phases: str) -> protocol.RebuildView:
        async def there() -> bool:
            return (await self.look()).phase in phases

        await eventually(there, 60)
        return await self.look()

    async def rebuild(self) -> protocol.RebuildView:
        await self.ask()
        async with self.working():
            return await self.until_ended()

    async def rebuild_again(self) -> protocol.RebuildView:
        await self.ask("0190f5a0-0000-7000-8000-000000000003")
        async with self.working():
            return await self.until_ended()

    async def as_administrator(self, statement: str) -> None:
        async with await psycopg.AsyncConnection.connect(self.conninfo, autocommit=True) as admin:
            await admin.execute(statement.encode())

    async def sign(self) -> None:
        """Put the state of both trees on record as signed."""
        checkpoints = PostgresCheckpoints(self.world.log.pool)
        async with self.world.log.pool.connection() as connection:
            for stream, number in STREAM_NUMBERS.items():
                size = await stored_size(connection, number)
                root = await stored_root(connection, number, size)
                if size and root:
                    await checkpoints.add(SignedCheckpoint(stream, size, root, KEY, "note", self.world.clock.now()))

    async def content(self) -> dict[str, list[tuple[Any, ...]]]:
        rows = {table: await self.world.log.rows(f"SELECT * FROM {table} ORDER BY 1, 2, 3") for table in TABLES}  # noqa: S608
        return {**rows, "checkpoints": await self.world.log.rows("SELECT * FROM checkpoints ORDER BY 1")}

    async def table(self) -> int:
        """Which table the log is."""
        ((oid,),) = await self.world.log.rows("SELECT 'entries'::regclass::oid")
        return int(oid)

    async def left_over(self) -> list[tuple[Any, ...]]:
        return await self.world.log.rows(
            "SELECT relname FROM pg_class WHERE relnamespace IN ('audit_fresh'::regnamespace, 'audit_old'::regnamespace)"
        )


@asynccontextmanager
async def a_log(bus: Bus, database: Database) -> AsyncIterator[Rebuilt]:
    async with world(bus, database) as it:
        recorded = Recorded()

        async def remove(fresh: Pool) -> None:
            await Retention(PostgresKeptLog(fresh), DirectRecorder(it.commands), it.clock).remove()

        def runner(fresh: Pool, stream: str, name: str) -> ProjectionRunner:
            return it.runner(stream, fresh, name)

        fresh = PostgresFreshLog(database.dsn("audit"), it.log.pool, it.log.bulk, runner, remove)
        rebuilding = Rebuilding(
            PostgresRebuilds(it.log.pool), fresh, PostgresCheckpoints(it.log.pool), recorded, it.clock
        )
        yield Rebuilt(it, rebuilding, recorded, database.admin_dsn)


async def some_history(it: Rebuilt) -> None:
    for days in (500, 100, 40, 2):
        await it.world.happens(ago(days), accesses=4)
    await it.world.log.append("A", times=3)
    await it.world.hold("2026-08-01", None)
    await it.world.keep(400)
    await it.world.project()
    await it.sign()


async def test_the_rebuilt_log_is_the_log(nats_server: Bus, postgres: Database) -> None:
    async with a_log(nats_server, postgres) as it:
        await some_history(it)
        before, table = await it.content(), await it.table()
        found = await it.rebuild()
        assert (found.phase, found.detail) == ("completed", "")
        assert found.replayed == found.total == 16 + 5
        assert await it.content() == before
        assert await it.table() != table
        assert await it.left_over() == []
        assert [tree.stream for tree in found.trees] == [EVENTS, ACCESS]
        assert [id_ for id_, _ in it.recorded.rebuilds] == [ID]


async def test_indexes_rights_and_guards_are_those_of_before(nats_server: Bus, postgres: Database) -> None:
    # Which months have a table depends on which messages came together; they are all alike.
    shape = (
        """SELECT DISTINCT regexp_replace(tablename, '_[0-9]{4}_[0-9]{2}$', '_month'),
        substring(indexdef FROM ' USING .*') FROM pg_indexes WHERE schemaname = 'audit' ORDER BY 1, 2""",
        """SELECT DISTINCT regexp_replace(relname, '_[0-9]{4}_[0-9]{2}$', '_month'), relacl::text
        FROM pg_class WHERE relnamespace = 'audit'::regnamespace AND relkind IN ('r', 'p') ORDER BY 1""",
        """SELECT tgrelid::regclass::text, tgname, tgfoid::regprocedure::text FROM pg_trigger
        JOIN pg_class ON pg_class.oid = tgrelid
        WHERE NOT tgisinternal AND relnamespace = 'audit'::regnamespace ORDER BY 1, 2""",
    )
    async with a_log(nats_server, postgres) as it:
        await some_history(it)
        before = [await it.world.log.rows(query) for query in shape]
        assert (await it.rebuild()).phase == "completed"
        assert [await it.world.log.rows(query) for query in shape] == before


async def test_the_projectors_go_on_where_the_rebuilt_log_ends(nats_server: Bus, postgres: Database) -> None:
    async with a_log(nats_server, postgres) as it:
        await some_history(it)
        assert (await it.rebuild()).phase == "completed"
        await it.world.happens(ago(1), accesses=3)
        await it.sign()
        assert (await it.rebuild_again()).phase == "completed"
        assert len(await it.world.log.rows("SELECT 1 FROM entries WHERE stream = 2")) == 16 + 3


async def test_readers_and_writers_go_on_meanwhile(nats_server: Bus, postgres: Database) -> None:
    async with a_log(nats_server, postgres) as it:
        await it.world.log.record(2000)
        await it.world.project()
        await it.sign()
        runners = {stream: it.world.runner(stream) for stream in SUBJECTS}
        async with running(list(runners.values())), it.working():
            await it.ask()
            seen, written = [], 0
            while (await it.look()).ended_at is None:
                await it.world.log.record(20)
                written += 20
                ((count,),) = await it.world.log.rows("SELECT count(*) FROM entries WHERE stream = 2")
                seen.append(count)
            assert (await it.look()).phase == "completed"
            await reach(runners[ACCESS], await it.world.log.end(ACCESS))
        assert seen == sorted(seen)
        assert seen[0] >= 2000
        ((count, last),) = await it.world.log.rows("SELECT count(*), max(sequence) FROM entries WHERE stream = 2")
        assert count == last == 2000 + written


async def test_months_that_went_stay_away(nats_server: Bus, postgres: Database) -> None:
    async with a_log(nats_server, postgres) as it:
        await it.world.happens(ago(500))
        await it.world.happens(ago(5))
        await it.world.round()
        months = await it.world.months()
        await it.sign()
        minimums = await it.world.log.rows("SELECT * FROM minimums")
        assert (await it.rebuild()).phase == "completed"
        assert await it.world.months() == months
        assert await it.world.log.rows("SELECT * FROM minimums") == minimums


async def test_what_the_stream_does_not_hold_any_more_is_carried_over(nats_server: Bus, postgres: Database) -> None:
    async with expired(nats_server, postgres) as it:
        before = await it.content()
        assert (await it.rebuild()).phase == "completed"
        assert await it.content() == before


async def test_a_changed_row_that_the_stream_can_not_give_any_more_stops_it(
    nats_server: Bus, postgres: Database
) -> None:
    async with expired(nats_server, postgres) as it:
        await it.as_administrator("UPDATE audit.entries SET body = '{}' WHERE stream = 2 AND sequence = 3")
        before, table = await it.content(), await it.table()
        found = await it.rebuild()
        assert found.phase == "failed"
        assert "KT_ACCESS:3" in found.detail
        assert await it.content() == before
        assert await it.table() == table
        assert await it.left_over() == []


async def test_a_changed_row_that_the_stream_still_holds_is_repaired_by_it(
    nats_server: Bus, postgres: Database
) -> None:
    async with a_log(nats_server, postgres) as it:
        await some_history(it)
        before = await it.content()
        await it.as_administrator("UPDATE audit.entries SET outcome = 'denied' WHERE stream = 2 AND sequence = 3")
        await it.as_administrator("DELETE FROM audit.entries WHERE stream = 2 AND sequence = 7")
        assert await it.content() != before
        assert (await it.rebuild()).phase == "completed"
        assert await it.content() == before


async def test_another_root_than_the_signed_one_stops_it(nats_server: Bus, postgres: Database) -> None:
    async with a_log(nats_server, postgres) as it:
        await some_history(it)
        await it.as_administrator("UPDATE audit.checkpoints_signed SET root = decode(repeat('ab', 32), 'hex')")
        before, table = await it.content(), await it.table()
        found = await it.rebuild()
        assert found.phase == "failed"
        assert "does not give the root that was signed" in found.detail
        assert await it.content() == before
        assert await it.table() == table
        assert it.recorded.rebuilds == []


@pytest.mark.parametrize(
    "after_ms", [pytest.param(0, marks=pytest.mark.chaos), pytest.param(150, marks=pytest.mark.chaos), 400]
)
async def test_one_that_died_begins_again(nats_server: Bus, postgres: Database, after_ms: int) -> None:
    async with a_log(nats_server, postgres) as it:
        await some_history(it)
        before = await it.content()
        await it.ask()
        async with it.working():
            await asyncio.sleep(after_ms / 1000)
        async with it.working():
            assert (await it.until_ended()).phase == "completed"
        assert await it.content() == before
        assert await it.left_over() == []
        assert {id_ for id_, _ in it.recorded.rebuilds} == {ID}


async def test_a_long_query_delays_the_swap_and_not_those_behind_it(nats_server: Bus, postgres: Database) -> None:
    async with a_log(nats_server, postgres) as it:
        await some_history(it)
        async with await psycopg.AsyncConnection.connect(postgres.dsn("audit")) as reader:
            await reader.execute("SELECT count(*) FROM audit.entries")
            await it.ask()
            async with it.working():
                await it.until("comparing")
                for _ in range(5):
                    async with asyncio.timeout(5):
                        assert await it.world.log.rows("SELECT count(*) FROM entries")
                assert (await it.look()).ended_at is None
                await reader.rollback()
                assert (await it.until_ended()).phase == "completed"


async def test_asking_twice_gives_the_one_that_is_under_way(nats_server: Bus, postgres: Database) -> None:
    async with a_log(nats_server, postgres) as it:
        first = await it.ask()
        assert (await it.ask("0190f5a0-0000-7000-8000-000000000003")).id == first.id == ID


async def test_a_log_that_was_never_rebuilt_says_so(nats_server: Bus, postgres: Database) -> None:
    async with a_log(nats_server, postgres) as it:
        with pytest.raises(KtError) as caught:
            await it.look()
        assert caught.value.code == "not_found"


@asynccontextmanager
async def expired(bus: Bus, database: Database) -> AsyncIterator[Rebuilt]:
    """A log whose stream has dropped its first messages."""
    await remake(bus, ACCESS, deny_purge=False, deny_delete=False)
    async with a_log(bus, database) as it:
        await it.world.happens(ago(300), accesses=6)
        await it.world.happens(ago(30), accesses=6)
        await it.sign()
        provisioner = (await bus.connect("provisioner")).jetstream()
        await provisioner.purge_stream(ACCESS, seq=9)
        it.world.clock.moment += timedelta(seconds=1)
        yield it

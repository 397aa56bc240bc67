"""Older plaintext rows: read from whatever table they lie in, sealed once, deleted behind the event and not before."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from libs.common.errors import KtError
from libs.common.events.config_variable import ConfigVariableCreated, ConfigVariableDeleted
from libs.common.events.config_variable import ConfigVariableTakenOver as Event
from libs.common.events.secret import SealedRef
from libs.common.legacy_rows import LegacyRow
from libs.common.legacy_table import TableName
from libs.common.postgres import Pool
from libs.common.secret import Secret
from services.keys.adapters.legacy_table import PostgresLegacyClaims, PostgresLegacyTable, open_legacy_pool
from services.keys.application.legacy import LegacyRows, RowRemover, TakenOver
from services.keys.application.sealing import Sealing
from services.keys.domain.sealed import Binding
from tests.engines import Database, PostgresEngine
from tests.integration.keys.test_destruction import left, project, stored
from tests.unit.keys.support import KIND, FixedClock, Stores, master, start

PLAIN = "(name text, value text, description text, sensitive boolean)"
INSERT = "INSERT INTO {} (name, value, description, sensitive) VALUES (%s, %s, %s, %s)"


@dataclass
class Old:
    """The earlier system's database: the key service's view of it, and everybody else's."""

    dsn: str
    table: PostgresLegacyTable
    name: TableName

    def insert(self, *rows: tuple[object, ...]) -> None:
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            connection.cursor().executemany(sql.SQL(INSERT).format(self.name.identifier), rows)

    def execute(self, statement: str, *values: object) -> list[tuple[object, ...]]:
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            cursor = connection.execute(sql.SQL(statement).format(self.name.identifier), values)
            return cursor.fetchall() if cursor.description else []

    def names(self) -> list[object]:
        return [name for (name,) in self.execute("SELECT name FROM {} ORDER BY 1")]


@asynccontextmanager
async def old_table(dsn: str, columns: str = PLAIN, table: str = "config_variables") -> AsyncIterator[Old]:
    name = TableName.parse(table)
    with psycopg.connect(dsn, autocommit=True) as connection:
        if len(name.parts) > 1:
            connection.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(name.parts[0])))
        connection.execute(sql.SQL("CREATE TABLE {} {}").format(name.identifier, sql.SQL(columns)))
    async with open_legacy_pool(Secret.from_text(dsn)) as pool:
        yield Old(dsn, PostgresLegacyTable(pool, name), name)


@pytest.fixture
async def old(postgres: Database) -> AsyncIterator[Old]:
    async with old_table(postgres.admin_dsn) as opened:
        yield opened


@dataclass
class World:
    old: Old
    pool: Pool
    stores: Stores
    claims: PostgresLegacyClaims
    rows: LegacyRows
    clock: FixedClock
    sealing: Sealing

    async def take_over(self, name: str, org: str = "default") -> TakenOver | None:
        return await self.rows.take_over(Binding.checked(org, KIND, name, str(uuid.uuid4())))

    async def remove(self) -> int:
        return await RowRemover(self.old.table, self.claims).remove()

    async def value_of(self, name: str) -> bytes | None:
        found = (await self.rows.values("default", [name], reveal=False)).values.get(name)
        return found.reveal() if found is not None else None


@pytest.fixture
async def world(old: Old, pool: Pool, stores: Stores) -> World:
    clock = FixedClock()
    instance = await start(stores, master(1), clock=clock)
    claims = PostgresLegacyClaims(pool, clock)
    rows = LegacyRows("default", old.table, claims, instance.sealing)
    return World(old, pool, stores, claims, rows, clock, instance.sealing)


def event_of(taken: TakenOver | None) -> Event:
    assert taken is not None
    return Event(1, taken.row.description, taken.row.sensitive, SealedRef(taken.sealed.id, taken.sealed.digest))


async def test_the_row_goes_only_behind_the_event_and_killed_anywhere_it_goes_once(world: World) -> None:
    world.old.insert(("A", "plain-a-1", "d", True), ("B", "plain-b-1", "", False))
    taken = await world.take_over("A")
    assert taken is not None
    assert set(await world.stores.sealed.fetch([taken.sealed.id])) == {taken.sealed.id}
    assert await world.remove() == 0, "killed before the event was stored, the row stays"
    assert (world.old.names(), await world.value_of("A")) == (["A", "B"], b"plain-a-1")

    events = [stored(1, event_of(taken), "A")]
    await project(world.pool, events)
    assert world.old.names() == ["A", "B"]
    assert await world.rows.status("default", 10) is not None
    (claim,) = await world.claims.due(10)
    assert await world.old.table.delete(claim.name, claim.row_version), "killed between the row and the claim"
    assert world.old.names() == ["B"]
    assert [await world.remove(), await world.remove()] == [1, 0]
    await project(world.pool, events)
    assert [await world.remove(), world.old.names()] == [0, ["B"]], "projected again, nothing more happens"


async def test_a_row_that_was_changed_after_it_was_read_is_kept(world: World) -> None:
    world.old.insert(("A", "plain-a-1", "", True))
    taken = await world.take_over("A")
    world.old.execute("UPDATE {} SET value = 'plain-a-2'")
    await project(world.pool, [stored(1, event_of(taken), "A")])
    assert await world.remove() == 1
    assert world.old.execute("SELECT value FROM {}") == [("plain-a-2",)]


async def test_a_row_is_deleted_although_its_sealed_value_was_destroyed_before(world: World) -> None:
    world.old.insert(("A", "plain-a-1", "", True))
    taken = await world.take_over("A")
    assert taken is not None
    await project(world.pool, [stored(1, event_of(taken), "A"), stored(2, ConfigVariableDeleted(1), "A")])
    assert await left(world.stores, taken.sealed) == set()
    assert [await world.remove(), world.old.names()] == [1, []]


async def test_a_row_that_the_database_keeps_waits_and_keeps_no_other_waiting(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.keys.application.legacy.REMOVE_BATCH", 1)
    names = [f"N{number}" for number in range(4)]
    world.old.insert(*((name, f"plain-{name}-1", "", True) for name in names))
    world.old.execute("ALTER TABLE {} ADD PRIMARY KEY (name)")
    world.old.execute("CREATE TABLE users AS SELECT name FROM {} WHERE name IN ('N1', 'N2')")
    world.old.execute("ALTER TABLE users ADD FOREIGN KEY (name) REFERENCES {} (name)")
    taken = [stored(n, event_of(await world.take_over(name)), name) for n, name in enumerate(names, 1)]
    await project(world.pool, taken)
    with pytest.raises(KtError) as caught:
        await world.remove()
    assert (caught.value.code, "plain" in str(caught.value)) == ("conflict", False)
    assert world.old.names() == ["N1", "N2"]
    world.old.execute("DROP TABLE users")
    assert [await world.remove(), world.old.names()] == [2, []]


async def test_only_the_name_itself_is_deleted_whatever_the_column_takes_for_equal(world: World) -> None:
    world.old.execute("CREATE EXTENSION citext")
    world.old.execute("ALTER TABLE {} ALTER COLUMN name TYPE citext")
    world.old.execute("INSERT INTO {} VALUES ('amber', 'plain-1', '', true), ('AMBER', 'plain-2', '', true)")
    ((version,),) = world.old.execute("SELECT DISTINCT xmin::text FROM {}")
    assert await world.old.table.delete("AMBER", str(version))
    assert world.old.names() == ["amber"]


async def test_no_event_but_that_of_the_row_itself_deletes_it(world: World) -> None:
    world.old.insert(("A", "plain-a-1", "", True), ("B", "plain-b-1", "", True))
    a, b = await world.take_over("A"), await world.take_over("B")
    assert b is not None
    created = ConfigVariableCreated(1, "", True, SealedRef(b.sealed.id, b.sealed.digest))
    foreign = stored(2, event_of(a), "A", "acme")
    await project(world.pool, [stored(1, created, "B"), foreign, stored(3, event_of(a), "B")])
    assert [await world.remove(), world.old.names()] == [0, ["A", "B"]]


async def test_a_claim_whose_event_never_came_is_swept_with_its_sealed_value(world: World) -> None:
    world.old.insert(("A", "plain-a-1", "", True), ("B", "plain-b-1", "", True))
    unused, used = await world.take_over("A"), await world.take_over("B")
    assert unused is not None
    await project(world.pool, [stored(1, event_of(used), "B")])
    await world.stores.sealed.sweep(world.clock.now().replace(year=2027))
    assert await left(world.stores, unused.sealed) == set()
    async with world.pool.connection() as connection:
        kept = await (await connection.execute("SELECT name FROM legacy_claims")).fetchall()
    assert kept == [("B",)]


async def test_rows_belong_to_one_org(world: World) -> None:
    world.old.insert(("A", "plain-a-1", "", False))
    assert await world.take_over("A", "acme") is None
    assert (await world.rows.values("acme", ["A"], reveal=False)).values == {}
    assert (await world.rows.page("acme", "", "", 10)).rows == ()
    assert await world.rows.status("acme", 10) is None
    await world.rows.check_free("acme", "A")
    with pytest.raises(KtError) as caught:
        await world.rows.check_free("default", "A")
    assert caught.value.code == "already_exists"


async def test_what_can_not_be_used_is_counted_and_named_and_blocks_nobody(world: World) -> None:
    world.old.insert(
        ("GOOD", "plain-1", "", None),
        ("SHOWN", "plain-2", None, False),
        ("a/b", "plain-3", "", True),
        ("two words", "plain-4", "", True),
        ("n" * 129, "plain-5", "", True),
        (None, "plain-6", "", True),
        ("EMPTY", "", "", True),
        ("NULL", None, "", True),
        ("LARGE", "x" * 65_537, "", True),
        ("TWICE", "plain-7", "", True),
        ("TWICE", "plain-8", "", True),
        ("sk-proj-abcdefghijklmnop1234", "plain-9", "", True),
    )
    status = await world.rows.status("default", 5)
    assert status is not None
    assert (status.usable, status.unusable, len(status.examples), status.may_delete) == (2, 10, 5, True)
    assert "sk-proj" not in str(status)
    page = await world.rows.page("default", "", "", 100)
    assert [(row.name, row.sensitive) for row in page.rows] == [("GOOD", True), ("SHOWN", False)]
    asked = ["GOOD", "EMPTY", "NULL", "LARGE", "TWICE", "a/b", "MISSING"]
    assert list((await world.rows.values("default", asked, reveal=False)).values) == ["GOOD"]
    assert list((await world.rows.values("default", ["GOOD", "SHOWN"], reveal=True)).values) == ["SHOWN"]
    for name in ("TWICE", "LARGE"):
        with pytest.raises(KtError, match="only an older row that can't be used") as caught:
            await world.take_over(name)
        assert caught.value.code == "not_found"


async def test_pages_go_through_all_rows_in_the_order_of_bytes(world: World) -> None:
    names = ["A", "A-", "A.B", "A_B", "AB", "Z", "a", "a.b", "b"]
    world.old.insert(*((name, f"plain-{name}", "", True) for name in [*names, "é", "a b"]))
    found: list[str] = []
    after, more = "", True
    while more:
        page = await world.rows.page("default", "", after, 2)
        found += [row.name for row in page.rows]
        after, more = page.after, page.more
    assert found == sorted(names)
    assert [row.name for row in (await world.rows.page("default", "A", "A-", 10)).rows] == ["A.B", "AB", "A_B"]


@pytest.mark.parametrize(
    ("columns", "table"),
    [
        ("(name varchar(200) PRIMARY KEY, value bytea, description varchar(2000), sensitive integer)", "t"),
        ("(name char(40), value char(20), description text, sensitive text)", 'odd "name'),
        ("(id serial, value text, sensitive boolean, name text UNIQUE, extra json, description text)", "old.vars"),
    ],
)
async def test_the_table_may_have_other_types_more_columns_and_an_odd_name(
    postgres: Database, columns: str, table: str
) -> None:
    async with old_table(postgres.admin_dsn, columns, table) as old:
        value: object = b"plain-1" if "bytea" in columns else "plain-1"
        off: object = 0 if "integer" in columns else "f" if "sensitive text" in columns else False
        old.insert(("A", value, "d", off))
        (row,) = await old.table.find(["A"])
        assert isinstance(row, LegacyRow)
        assert (row.name, row.value.reveal(), row.description, row.sensitive) == ("A", b"plain-1", "d", False)
        assert await old.table.delete("A", row.version)
        assert old.names() == []


@contextmanager
def database_with(engine: PostgresEngine, encoding: str) -> Iterator[str]:
    name = f"old_{encoding.lower()}"
    with psycopg.connect(engine.admin_dsn, autocommit=True) as admin:
        admin.execute(
            f"CREATE DATABASE {name} TEMPLATE template0 ENCODING '{encoding}' LOCALE_PROVIDER libc LOCALE 'C'"
        )
        try:
            yield make_conninfo(engine.admin_dsn, dbname=name, client_encoding="UTF8")
        finally:
            admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
async def test_a_database_of_another_encoding_is_read_and_damaged_text_in_it_blocks_nobody(
    postgres_server: PostgresEngine, encoding: str
) -> None:
    with database_with(postgres_server, encoding) as dsn:
        async with old_table(dsn) as old:
            old.insert(("GOOD", "grün", "", True))
            if encoding == "SQL_ASCII":
                old.execute("INSERT INTO {} VALUES ('BAD', E'\\xff', '', true), (E'\\xfe', 'x', '', true)")
            survey = await old.table.survey(10)
            assert (survey.usable, survey.unusable) == (1, 2 if encoding == "SQL_ASCII" else 0)
            (row,) = await old.table.find(["GOOD"])
            assert isinstance(row, LegacyRow)
            assert row.value.reveal().decode() == "grün"


async def test_a_role_that_may_only_read_is_told_apart_and_its_rows_wait(world: World, postgres: Database) -> None:
    world.old.insert(("A", "plain-a-1", "", True))
    world.old.execute("GRANT SELECT ON {} TO kt_audit")
    async with open_legacy_pool(Secret.from_text(postgres.dsn("audit") + " options=''")) as pool:
        table = PostgresLegacyTable(pool, TableName.parse("public.config_variables"))
        assert not await table.may_delete()
        await project(world.pool, [stored(1, event_of(await world.take_over("A")), "A")])
        with pytest.raises(KtError) as caught:
            await RowRemover(table, world.claims).remove()
    assert (caught.value.code, "plain-a" in str(caught.value)) == ("unavailable", False)
    status = await world.rows.status("default", 1)
    assert status is not None
    assert (status.waiting, world.old.names()) == (1, ["A"])
    assert [await world.remove(), world.old.names()] == [1, []]


async def test_without_its_database_each_question_says_so_in_time(world: World, postgres: Database) -> None:
    nowhere = make_conninfo(postgres.admin_dsn, dbname="there_is_none")
    async with open_legacy_pool(Secret.from_text(nowhere)) as pool:
        rows = LegacyRows(
            "default", PostgresLegacyTable(pool, TableName.parse("t")), world.claims, world.rows._sealing
        )
        assert (await rows.values("default", ["A"], reveal=False)).failed == {"A": "unavailable"}
        with pytest.raises(KtError) as caught:
            await rows.page("default", "", "", 10)
        assert caught.value.code == "unavailable"


async def test_a_table_that_is_made_later_is_found(postgres: Database, world: World) -> None:
    async with open_legacy_pool(Secret.from_text(postgres.admin_dsn)) as pool:
        table = PostgresLegacyTable(pool, TableName.parse("later"))
        with pytest.raises(KtError) as caught:
            await table.find(["A"])
        assert caught.value.code == "misconfigured"
        world.old.execute("ALTER TABLE {} RENAME TO later")
        assert await table.find(["A"]) == []


async def test_what_is_no_connection_string_is_not_repeated() -> None:
    with pytest.raises(KtError) as caught:
        async with open_legacy_pool(Secret(b"hunter2hunter2")):
            pass
    assert (caught.value.code, "hunter2" in str(caught.value)) == ("misconfigured", False)

"""The sealed store leaves PostgreSQL as lines and comes back the same, by a role that may do nothing else."""

from __future__ import annotations

import io
from collections.abc import Iterable
from dataclasses import astuple
from typing import Any

import psycopg
import pytest
from psycopg import sql

from libs.backup import sealed_store
from libs.backup.archive import Archive, ArchiveWriter
from libs.common.errors import KtError
from libs.common.postgres import open_pool
from tests.engines import Database, PostgresEngine
from tests.integration.keys.rows import stores_on
from tests.unit.keys.support import master, start

NOTICE = sealed_store.Restored("c2" * 32, "2026-11-22T08:00:00.000000Z", "2026-11-23T08:00:00.000000Z", "home")


async def filled(database: Database, count: int) -> dict[str, bytes]:
    """Seals values; their ids and what they hold."""
    async with open_pool(database.dsn("keys"), "keys") as pool:
        instance = await start(stores_on(pool), master(1))
        values = [b"value %d" % number for number in range(count)]
        return {(await instance.seal(v, name=f"K{n}")).id: v for n, v in enumerate(values)}


async def dumped(database: Database) -> Archive:
    file = io.BytesIO()
    writer = ArchiveWriter(file)
    async with sealed_store.reading(database.dsn("backup")) as store:
        for table in ("keyring", "sealed_values"):
            with writer.lines(table) as lines:
                await store.dump(table, lines)
    writer.finish()
    return Archive.read(file)


def rows(database: Database, table: str) -> Any:
    with psycopg.connect(database.admin_dsn) as connection:
        return sorted(
            connection.execute(sql.SQL("SELECT * FROM {}").format(sql.Identifier("keys", table))).fetchall()
        )


async def test_rows_come_back_as_they_were_and_open(postgres: Database, postgres_server: PostgresEngine) -> None:
    await filled(postgres, 30)
    archive = await dumped(postgres)
    with postgres_server.database() as other:
        lines = {table: archive.lines(table) for table in ("keyring", "sealed_values")}
        counts = await sealed_store.load(other.dsn("keys"), lines, NOTICE)
        assert [row[1:] for row in rows(other, "restore_notices")] == [astuple(NOTICE)]
        assert counts == {table: len(rows(postgres, table)) for table in counts}
        assert counts["sealed_values"] == 30
        for table in counts:
            assert rows(other, table) == rows(postgres, table)


async def test_what_is_read_is_of_one_moment(postgres: Database) -> None:
    await filled(postgres, 3)
    async with sealed_store.reading(postgres.dsn("backup")) as store:
        with psycopg.connect(postgres.admin_dsn, autocommit=True) as connection:
            connection.execute("DELETE FROM keys.sealed_values")
            connection.execute("INSERT INTO keys.checkpoints VALUES ('sealed_references', 7, '')")
        assert await store.count("sealed_values") == 3
        assert store.as_of_sequence == 0
    assert await sealed_store.projected(postgres.dsn("backup")) == 7


async def test_nothing_is_loaded_over_what_is_there_and_bad_rows_load_nothing(
    postgres: Database, postgres_server: PostgresEngine
) -> None:
    await filled(postgres, 2)
    archive = await dumped(postgres)
    before = rows(postgres, "sealed_values")

    async def refused(database: Database, keyring: Iterable[Any], values: Iterable[Any]) -> str:
        with pytest.raises(KtError) as caught:
            await sealed_store.load(database.dsn("keys"), {"keyring": keyring, "sealed_values": values}, NOTICE)
        return caught.value.code

    assert await refused(postgres, archive.lines("keyring"), archive.lines("sealed_values")) == "already_exists"
    assert rows(postgres, "sealed_values") == before
    good = list(archive.lines("sealed_values"))
    with postgres_server.database() as other:
        for bad in (
            {**good[0], "ciphertext": "not base64!"},
            {**good[0], "id": "no uuid"},
            {name: value for name, value in good[0].items() if name != "org"},
            {**good[0], "sealed_at": "yesterday"},
            {**good[0], "name": None},
            good[1],
        ):
            assert await refused(other, archive.lines("keyring"), [*good, bad]) == "backup_damaged"
        assert rows(other, "keyring") == []
        assert rows(other, "sealed_values") == []
        assert rows(other, "restore_notices") == []


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM keys.sealed_values",
        "UPDATE keys.keyring SET wrapped = ''",
        "INSERT INTO keys.checkpoints VALUES ('x', 1, '')",
        "SELECT * FROM keys.sealed_references",
        "SELECT * FROM audit.entries",
        "SELECT * FROM resolver.variables",
        "CREATE TABLE keys.mine (n int)",
    ],
)
def test_the_role_of_backups_may_read_the_sealed_store_and_nothing_else(postgres: Database, statement: str) -> None:
    with psycopg.connect(postgres.dsn("backup"), autocommit=True) as connection:
        assert connection.execute("SELECT count(*) FROM keys.sealed_values").fetchone() == (0,)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(statement.encode())

"""What PostgreSQL adds to the ports: durability, isolation from other roles, failures that say so."""

from __future__ import annotations

import psycopg
import pytest
from psycopg import sql

from libs.common.errors import KtError
from libs.common.postgres import Pool, open_pool
from tests.engines import Database
from tests.integration.keys.rows import stores_on
from tests.unit.keys.support import Stores, master, start


async def _lsn(admin: psycopg.AsyncConnection[tuple[str, ...]], function: str) -> int:
    cursor = await admin.execute(f"SELECT {function}() - '0/0'::pg_lsn")
    row = await cursor.fetchone()
    assert row is not None
    return int(row[0])


async def test_a_sealed_value_is_on_the_disk_whatever_the_server_s_default(postgres: Database) -> None:
    async with await psycopg.AsyncConnection.connect(postgres.admin_dsn, autocommit=True) as admin:
        database = sql.Identifier(admin.info.dbname)
        await admin.execute(sql.SQL("ALTER DATABASE {} SET synchronous_commit = off").format(database))
        async with open_pool(postgres.dsn("keys"), "keys") as pool:
            instance = await start(stores_on(pool), master(1))
            for org in (f"org-{number}" for number in range(10)):
                for _ in range(2):
                    before = await _lsn(admin, "pg_current_wal_insert_lsn")
                    await instance.seal(b"value", org=org)
                    assert await _lsn(admin, "pg_current_wal_flush_lsn") > before


async def test_neither_value_nor_key_is_in_the_tables(pool: Pool, stores: Stores) -> None:
    instance = await start(stores, master(1))
    await instance.seal(b"canary-4711-canary")
    async with pool.connection() as connection:
        dump = ""
        for table in ("keyring", "sealed_values", "sealed_references"):
            query = sql.SQL("SELECT t::text FROM {} AS t").format(sql.Identifier(table))
            rows = await (await connection.execute(query)).fetchall()
            dump += str(rows)
    assert b"canary-4711-canary".hex() not in dump
    assert master(1).wrapping_key.reveal().hex() not in dump
    assert (await instance.keyring.transport()).private.to_secret().reveal().hex() not in dump


@pytest.mark.parametrize("service", ["resolver", "audit"])
async def test_no_other_role_reads_the_sealed_store(postgres: Database, stores: Stores, service: str) -> None:
    await (await start(stores, master(1))).seal(b"value")
    async with await psycopg.AsyncConnection.connect(postgres.dsn(service), autocommit=True) as other:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            await other.execute("SELECT * FROM keys.sealed_values")


async def test_a_keyring_locked_elsewhere_is_waited_for_and_then_unavailable(
    postgres: Database, stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "services.keys.adapters.sql.PREPARE_WRITING", "SELECT set_config('lock_timeout', '100ms', true)"
    )
    async with stores.keyring.writing():
        with pytest.raises(KtError) as refused:
            await start(stores, master(1))
    assert refused.value.code == "unavailable"
    assert (await start(stores, master(1))).opened.keys


async def test_a_connection_lost_is_unavailable_and_the_next_one_works(postgres: Database, stores: Stores) -> None:
    instance = await start(stores, master(1))
    sealed = await instance.seal(b"value")
    async with await psycopg.AsyncConnection.connect(postgres.admin_dsn, autocommit=True) as admin:
        await admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'kt_keys' AND pid <> pg_backend_pid()"
            " AND datname = current_database()"
        )
    codes = set()
    for _ in range(20):
        try:
            values, _failed = await instance.open(sealed)
        except KtError as error:
            codes.add(error.code)
        else:
            assert values == {sealed.id: b"value"}
            break
    else:
        raise AssertionError("the store did not come back")
    assert codes <= {"unavailable"}

"""What was destroyed is in no page and no statistics of the sealed store a moment later."""

from __future__ import annotations

import psycopg
import pytest

from libs.common.postgres import Pool
from services.keys.adapters.scrubber import Outcome, Scrubber
from services.keys.domain.sealed import SealedValue
from tests.engines import Database
from tests.unit.keys.support import Instance, Stores, master, start

LARGE = 20_000
"""Bytes of a value that PostgreSQL stores apart from its row."""


@pytest.fixture
async def instance(stores: Stores) -> Instance:
    return await start(stores, master(1))


def on_disk(database: Database) -> bytes:
    """The files of the sealed store's tables and of all statistics."""
    with psycopg.connect(database.admin_dsn, autocommit=True) as connection:
        connection.execute("CHECKPOINT")
        relations = """
            SELECT pg_relation_filepath(c.oid) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
             WHERE (n.nspname = 'keys' OR c.relname = 'pg_statistic' OR c.oid IN (
                       SELECT reltoastrelid FROM pg_class WHERE relnamespace = 'keys'::regnamespace))
               AND pg_relation_filepath(c.oid) IS NOT NULL
        """
        paths = [row[0] for row in connection.execute(relations)]
        read = "SELECT pg_read_binary_file(%s)"
        return b"".join(row[0] for path in paths for row in connection.execute(read, (path,), binary=True))


async def stored(instance: Instance, stores: Stores, name: str, value: bytes) -> SealedValue:
    sealed = await instance.seal(value, name=name)
    return (await stores.sealed.fetch([sealed.id]))[sealed.id]


def traces(content: bytes, *values: SealedValue) -> set[str]:
    """Which parts of values are there: a page holds up to 2 kB of a large one in one piece."""
    parts = [("ciphertext", v.ciphertext[:1000]) for v in values]
    parts += [("data key", v.wrapped_data_key) for v in values]
    return {what for what, part in parts if part in content}


async def remove(pool: Pool, *values: SealedValue) -> None:
    async with pool.connection() as connection:
        for value in values:
            await connection.execute("DELETE FROM sealed_values WHERE id = %s", (value.binding.sealed_id,))


async def test_deleted_values_leave_the_files_and_the_others_stay(
    pool: Pool, stores: Stores, instance: Instance, postgres: Database
) -> None:
    small, large, kept = [
        await stored(instance, stores, name, value)
        for name, value in (("A", b"small"), ("B", b"x" * LARGE), ("C", b"kept"))
    ]
    await remove(pool, small, large)
    assert traces(on_disk(postgres), small, large) == {"ciphertext", "data key"}
    scrubber = Scrubber(pool)
    assert (await scrubber.scrub())["sealed_values"] is Outcome.DONE
    content = on_disk(postgres)
    assert traces(content, small, large) == set()
    assert traces(content, kept) == {"ciphertext", "data key"}
    assert set((await scrubber.scrub()).values()) == {Outcome.NOTHING_DUE}
    assert set(await stores.sealed.fetch([kept.binding.sealed_id])) == {kept.binding.sealed_id}


async def test_a_key_that_is_deleted_leaves_the_file_of_the_keyring(
    pool: Pool, stores: Stores, instance: Instance, postgres: Database
) -> None:
    await instance.seal(b"v", name="A")
    async with pool.connection() as connection:
        cursor = await connection.execute("DELETE FROM keyring WHERE purpose = 'key-encryption' RETURNING wrapped")
        ((wrapped,),) = await cursor.fetchall()
    assert wrapped in on_disk(postgres)
    assert (await Scrubber(pool).scrub())["keyring"] is Outcome.DONE
    assert wrapped not in on_disk(postgres)


async def test_statistics_hold_nothing_of_keys_and_values(
    pool: Pool, stores: Stores, instance: Instance, postgres: Database
) -> None:
    values = [await stored(instance, stores, f"K{number}", b"value %d" % number) for number in range(40)]
    async with pool.connection() as connection:
        await connection.execute("ANALYZE keyring, sealed_values")
    await remove(pool, *values)
    await Scrubber(pool).scrub()
    assert traces(on_disk(postgres), *values) == set()


async def test_what_a_transaction_may_still_see_goes_once_that_is_over(
    pool: Pool, stores: Stores, instance: Instance, postgres: Database
) -> None:
    value, scrubber = await stored(instance, stores, "A", b"v"), Scrubber(pool)
    with psycopg.connect(postgres.admin_dsn) as reader:
        reader.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        reader.execute("SELECT count(*) FROM keys.checkpoints")
        await remove(pool, value)
        assert (await scrubber.scrub())["sealed_values"] is Outcome.IN_USE
        # It has not touched the table yet, and is never kept from seeing what it may see.
        assert reader.execute("SELECT count(*) FROM keys.sealed_values").fetchone() == (1,)
        assert (await scrubber.scrub())["sealed_values"] is Outcome.IN_USE
    assert (await scrubber.scrub())["sealed_values"] is Outcome.DONE
    assert traces(on_disk(postgres), value) == set()


async def test_a_large_table_is_left_to_somebody_else_and_it_is_noticed_when_that_is_done(
    pool: Pool, stores: Stores, instance: Instance, postgres: Database
) -> None:
    value, scrubber = await stored(instance, stores, "A", b"v"), Scrubber(pool, max_bytes=0)
    await remove(pool, value)
    assert (await scrubber.scrub())["sealed_values"] is Outcome.TOO_LARGE
    with psycopg.connect(postgres.admin_dsn, autocommit=True) as connection:
        connection.execute("VACUUM (FULL) keys.sealed_values")
    assert (await scrubber.scrub())["sealed_values"] is Outcome.NOTHING_DUE
    assert traces(on_disk(postgres), value) == set()


async def test_of_several_instances_one_works(pool: Pool, stores: Stores, instance: Instance) -> None:
    await remove(pool, await stored(instance, stores, "A", b"v"))
    async with pool.connection() as other:
        await other.execute("SELECT pg_advisory_lock(hashtext('keys/scrub'))")
        assert await Scrubber(pool).scrub() == {}
        await other.execute("SELECT pg_advisory_unlock_all()")
    assert (await Scrubber(pool).scrub())["sealed_values"] is Outcome.DONE

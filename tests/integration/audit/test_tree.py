"""Every stream has its Merkle tree, grown with the rows: exact after every kill, and refused once it was touched."""

from __future__ import annotations

import asyncio
import random

import psycopg
import pytest

from libs.common.errors import KtError
from libs.common.subjects import ACCESS, EVENTS
from libs.common.transparency.merkle import UNSEEN_LEAF, leaf_hash, root_of
from services.audit.adapters import tree
from tests.engines import Bus, Database, eventually
from tests.integration.audit.log import Log, lose, open_log, remake, running


async def root_in_tiles(log: Log, stream: int, size: int) -> bytes | None:
    async with log.pool.connection() as connection:
        assert await tree.stored_size(connection, stream) == size
        return await tree.stored_root(connection, stream, size)


async def built(log: Log, stream: int, size: int) -> bool:
    async with log.pool.connection() as connection:
        return await tree.stored_size(connection, stream) == size


async def as_admin(database: Database, *statements: str) -> None:
    async with await psycopg.AsyncConnection.connect(database.admin_dsn, autocommit=True) as admin:
        await admin.execute("SET search_path TO audit")
        for statement in statements:
            await admin.execute(statement.encode())


async def refused(log: Log, stream: str) -> str:
    with pytest.raises(KtError) as caught:
        await asyncio.wait_for(log.runner(stream).run(), 30)
    assert caught.value.code == "log_damaged"
    return caught.value.detail


async def test_the_root_is_that_of_the_streams_bytes(nats_server: Bus, postgres: Database) -> None:
    async with open_log(nats_server, postgres) as log:
        for _ in range(3):
            await log.append("A", times=7)
            await log.record(300)
            await log.project()
        for number, stream in ((1, EVENTS), (2, ACCESS)):
            leaves = [leaf_hash(body) for _, body in await log.messages(stream)]
            assert await root_in_tiles(log, number, len(leaves)) == root_of(leaves)


async def test_a_projector_that_is_cancelled_at_any_point_leaves_the_tree_of_its_rows(
    nats_server: Bus, postgres: Database
) -> None:
    chance = random.Random(4)
    async with open_log(nats_server, postgres) as log:
        for _ in range(6):
            await log.record(500)
        kills = 0
        while True:
            runner = log.runner(ACCESS, batch=chance.choice((50, 400)))
            async with running([runner]):
                if await runner.wait_for(3000, chance.uniform(0.005, 0.05) + kills * 0.002):
                    break
            kills += 1
        rows = await log.rows("SELECT body FROM entries ORDER BY sequence")
        assert await root_in_tiles(log, 2, 3000) == root_of([leaf_hash(row[0]) for row in rows])


async def test_a_log_without_a_tree_gets_one_from_its_rows_and_goes_on(
    nats_server: Bus, postgres: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tree, "BUILD_BATCH", 100)
    async with open_log(nats_server, postgres) as log:
        await log.record(450)
        await log.project(ACCESS)
        leaves = [leaf_hash(body) for _, body in await log.messages(ACCESS)]
        await as_admin(postgres, "TRUNCATE tiles", "DELETE FROM entries WHERE sequence = 407")
        async with log.pool.connection() as connection:  # as far as it was built before somebody pulled the plug
            await log.tree(ACCESS).append(connection, 1, leaves[:200])
        async with log.projecting(ACCESS):
            await eventually(lambda: built(log, 2, 450), within=30)
        assert await root_in_tiles(log, 2, 450) == root_of(leaves)
        assert await log.rows("SELECT * FROM unseen") == []
        await log.record(3)
        await log.project(ACCESS)
        leaves = [leaf_hash(body) for _, body in await log.messages(ACCESS)]
        assert await root_in_tiles(log, 2, 453) == root_of(leaves)


async def test_what_expired_unseen_has_a_leaf_that_nothing_can_fill(nats_server: Bus, postgres: Database) -> None:
    async with open_log(nats_server, postgres) as log:
        await remake(nats_server, ACCESS, deny_delete=False)
        await log.record(5)
        await lose(nats_server, ACCESS, 1, 2)
        await log.project(ACCESS)
        leaves = [row[0] for row in await log.rows("SELECT body FROM entries ORDER BY sequence")]
        root = root_of([UNSEEN_LEAF, UNSEEN_LEAF, *map(leaf_hash, leaves)])
        assert await root_in_tiles(log, 2, 5) == root
        assert await log.rows("SELECT * FROM unseen") == [(2, 1, 2)]
        await as_admin(postgres, "TRUNCATE tiles, unseen")
        async with log.projecting(ACCESS):
            await eventually(lambda: built(log, 2, 5), within=30)
        assert await root_in_tiles(log, 2, 5) == root
        assert await log.rows("SELECT * FROM unseen") == [(2, 1, 2)]


async def test_a_tree_that_is_longer_than_the_log_is_refused(nats_server: Bus, postgres: Database) -> None:
    async with open_log(nats_server, postgres) as log:
        await log.record(3)
        await log.project(ACCESS)
        await as_admin(postgres, "UPDATE tiles SET hashes = hashes || sha256('')")
        assert "has 4 leaves, but only 3 entries" in await refused(log, ACCESS)


async def test_a_tree_that_is_not_the_signed_one_is_refused(nats_server: Bus, postgres: Database) -> None:
    signed = "INSERT INTO checkpoints_signed VALUES (2, 3, '\\x00', gen_random_uuid(), '', now())"
    async with open_log(nats_server, postgres) as log:
        await log.record(4)
        await log.project(ACCESS)
        await log.rows(signed)
        assert "another root for its first 3 leaves" in await refused(log, ACCESS)
        await log.rows(signed.replace("(2, 3,", "(2, 5,"))
        assert "was signed with 5" in await refused(log, ACCESS)


async def test_a_tile_that_was_changed_while_nobody_looked_is_noticed_by_the_next_entries(
    nats_server: Bus, postgres: Database
) -> None:
    async with open_log(nats_server, postgres) as log:
        await log.record(300)
        await log.project(ACCESS)
        await as_admin(postgres, "DELETE FROM tiles WHERE level = 1")
        await log.record(1)
        with pytest.raises(KtError, match="its tiles were changed") as caught:
            await asyncio.wait_for(log.runner(ACCESS).run(), 30)
        assert caught.value.code == "log_damaged"


async def test_the_service_can_only_let_a_tile_grow(nats_server: Bus, postgres: Database) -> None:
    async with open_log(nats_server, postgres) as log:
        await log.record(3)
        await log.project(ACCESS)
        for statement in ("DELETE FROM {}", "TRUNCATE {}", "UPDATE {} SET stream = 1"):
            for table in ("tiles", "unseen", "minimums", "checkpoints_signed"):
                with pytest.raises((psycopg.errors.InsufficientPrivilege, psycopg.errors.CheckViolation)):
                    await log.rows(statement.format(table))
        for statement in ("UPDATE {} SET hashes = ''", "UPDATE {} SET index = index + 1"):
            with pytest.raises(psycopg.errors.CheckViolation):
                await log.rows(statement.format("tiles"))

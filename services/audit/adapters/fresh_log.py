"""A second set of the log's tables, in a schema of its own, and its way into the place of the first."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Final

from nats.aio.client import Client
from psycopg import errors, sql

from libs.common.calendar import Month
from libs.common.errors import KtError
from libs.common.postgres import Connection, Pool, answering, migrate, open_pool
from libs.common.projection import ProjectionRunner
from libs.common.stream_reader import stream_range
from libs.common.tasks import ended_meanwhile
from libs.common.transparency.merkle import HASH_BYTES, leaf_hash
from libs.common.transparency.tiles import WIDTH, TileKey
from services.audit.adapters import migrations
from services.audit.adapters.entries_projection import TABLE, projection_name
from services.audit.adapters.partitions import Partitions
from services.audit.adapters.rebuilds import put_rebuild
from services.audit.adapters.tree import StreamTree, get_tiles, stored_root, stored_size
from services.audit.domain.rebuild import Rebuild
from services.audit.domain.streams import STREAM_NUMBERS

LIVE: Final = "audit"
FRESH: Final = "audit_fresh"
OLD: Final = "audit_old"
"""The schemas. Each belongs to the service's role, which may make no others; the two last are empty at rest."""

POOL_SIZE: Final = 5
CARRY: Final = 8 * WIDTH
"""Entries that one transaction takes from the live log."""

SWAP_WITHIN_S: Final = 10.0
STOP_TIMEOUT_S: Final = 10.0

_REBUILT: Final = (TABLE, "tiles", "unseen", "retention", "holds", "retired")
"""What the streams give. Everything else in the live schema (what was signed, what was decided) stays where it is."""

_FUNCTION: Final = "tile_only_grows()"
_DATABASE: Final = "The audit log's database"

_TABLES: Final = """
SELECT relname FROM pg_class
WHERE relnamespace = to_regnamespace(%s) AND relkind IN ('r', 'p') AND NOT relispartition"""
_PARTITIONS: Final = """
SELECT part.relname FROM pg_inherits inh JOIN pg_class part ON part.oid = inh.inhrelid
JOIN pg_class whole ON whole.oid = inh.inhparent
WHERE whole.relname = %s AND whole.relnamespace = to_regnamespace(%s)"""
_INDEXES: Final = """
SELECT indexname, replace(indexdef, ' ON ONLY ', ' ON ') FROM pg_indexes
WHERE schemaname = %s AND tablename = %s AND indexname <> %s"""

_LIVE_BODIES: Final = "SELECT sequence, body FROM audit.entries WHERE stream = %s AND sequence BETWEEN %s AND %s"
_LIVE_MONTHS: Final = """
SELECT DISTINCT date_trunc('month', recorded_at AT TIME ZONE 'UTC') FROM audit.entries
WHERE stream = %s AND sequence BETWEEN %s AND %s"""
_TAKE: Final = "INSERT INTO entries SELECT * FROM audit.entries WHERE stream = %s AND sequence BETWEEN %s AND %s"
_TAKE_UNSEEN: Final = """
INSERT INTO unseen SELECT stream, first_sequence, least(last_sequence, %s) FROM audit.unseen
WHERE stream = %s AND first_sequence <= %s"""
_CARRIED: Final = "INSERT INTO checkpoints (projection, sequence, digest) VALUES (%s, %s, '')"
_HOLD_STILL: Final = "SELECT sequence FROM audit.checkpoints WHERE projection = %s FOR UPDATE"
_MOVE: Final = """
UPDATE audit.checkpoints live SET sequence = fresh.sequence, digest = fresh.digest FROM audit_fresh.checkpoints fresh
WHERE live.projection = %s AND fresh.projection = %s"""


def fresh_name(stream: str) -> str:
    """The name of the checkpoint of a fresh log; also of the lock, which the live one holds under its own name."""
    return f"{projection_name(stream)}/fresh"


RunnerOf = Callable[[Pool, str, str], ProjectionRunner]
"""The projector of a stream (second) into the tables of a pool, with that name (third)."""

RemoveRetired = Callable[[Pool], Awaitable[object]]


class PostgresFreshLog:
    """Implements ``FreshLog``."""

    def __init__(self, conninfo: str, live: Pool, nc: Client, runner_of: RunnerOf, remove: RemoveRetired) -> None:
        self._conninfo = conninfo
        self._live = live
        self._nc = nc
        self._runner_of = runner_of
        self._remove = remove

    @asynccontextmanager
    async def made(self) -> AsyncIterator[PostgresFreshTables]:
        with answering(_DATABASE):
            await self._clear()
            try:
                await migrate(self._conninfo, FRESH, migrations.__name__)
                async with open_pool(self._conninfo, FRESH, POOL_SIZE) as pool:
                    tables = PostgresFreshTables(self._live, pool, self._nc, self._runner_of, self._remove)
                    await tables.take_indexes_away()
                    yield tables
            finally:
                await self._clear()

    async def _clear(self) -> None:
        async with self._live.connection() as connection:
            for schema in (FRESH, OLD):
                await _empty(connection, schema)


class PostgresFreshTables:
    """Implements ``FreshTables``."""

    def __init__(self, live: Pool, pool: Pool, nc: Client, runner_of: RunnerOf, remove: RemoveRetired) -> None:
        self._live = live
        self._pool = pool
        self._nc = nc
        self._runner_of = runner_of
        self._remove = remove
        self._runners: Mapping[str, ProjectionRunner] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._indexes: list[str] = []

    async def take_indexes_away(self) -> None:
        async with self._pool.connection() as connection:
            cursor = await connection.execute(_INDEXES, (FRESH, TABLE, f"{TABLE}_pkey"))
            for name, definition in await cursor.fetchall():
                self._indexes.append(definition)
                await connection.execute(sql.SQL("DROP INDEX {}").format(sql.Identifier(FRESH, name)))

    async def carry_over(self) -> None:
        for stream in STREAM_NUMBERS:
            first, _ = await stream_range(self._nc, stream)
            async with self._pool.connection() as connection:
                await self._carry_over(connection, stream, first - 1)

    @asynccontextmanager
    async def replaying(self) -> AsyncIterator[None]:
        self._runners = {s: self._runner_of(self._pool, s, fresh_name(s)) for s in STREAM_NUMBERS}
        self._tasks = [asyncio.create_task(runner.run()) for runner in self._runners.values()]
        try:
            yield
        finally:
            if not await ended_meanwhile(self._tasks, STOP_TIMEOUT_S):
                raise KtError("unavailable", "The projectors into the fresh tables don't stop.")

    async def caught_up(self, within_s: float) -> bool:
        ends = [(await stream_range(self._nc, stream))[1] for stream in self._runners]
        waits = zip(self._runners.values(), ends, strict=True)
        reached = await asyncio.gather(*(runner.wait_for(last, within_s) for runner, last in waits))
        for task in self._tasks:
            if task.done():
                task.result()
        return all(reached)

    async def progress(self) -> tuple[int, int]:
        ends = [await stream_range(self._nc, stream) for stream in STREAM_NUMBERS]
        return sum(runner.position for runner in self._runners.values()), sum(last for _, last in ends)

    async def index(self) -> None:
        async with self._pool.connection() as connection:
            await connection.execute("SET statement_timeout = 0")
            for definition in self._indexes:
                await connection.execute(definition.encode())
            await connection.execute(sql.SQL("ANALYZE {}").format(sql.Identifier(FRESH, TABLE)))
            await connection.execute("RESET statement_timeout")

    async def remove_retired(self) -> None:
        await self._remove(self._pool)

    async def root(self, stream: str, size: int) -> bytes | None:
        async with self._pool.connection() as connection:
            return await stored_root(connection, STREAM_NUMBERS[stream], size)

    async def swap(self, swapped: Rebuild) -> bool:
        """The live projectors wait at their checkpoints meanwhile, and go on behind the fresh ones'."""
        try:
            async with (
                asyncio.timeout(SWAP_WITHIN_S),
                self._live.connection() as connection,
                connection.transaction(),
            ):
                await connection.execute("SET LOCAL lock_timeout = '500ms'")
                return await self._swap(connection, swapped)
        except (errors.LockNotAvailable, errors.DeadlockDetected, TimeoutError):
            return False

    async def _swap(self, connection: Connection, swapped: Rebuild) -> bool:
        live = {stream: await _held_position(connection, stream) for stream in STREAM_NUMBERS}
        if any(live[stream] > self._runners[stream].position for stream in STREAM_NUMBERS):
            async with self.replaying():
                for stream, runner in self._runners.items():
                    if not await runner.wait_for(live[stream], SWAP_WITHIN_S / 2):
                        return False
        await _exchange(connection)
        for stream in STREAM_NUMBERS:
            await connection.execute(_MOVE, (projection_name(stream), fresh_name(stream)))
        await put_rebuild(connection, swapped)
        return True

    async def _carry_over(self, connection: Connection, stream: str, last: int) -> None:
        number = STREAM_NUMBERS[stream]
        async with self._live.connection() as live:
            last = min(last, await stored_size(live, number))
            tree, partitions = StreamTree(stream, _nothing), Partitions(TABLE)
            for start in range(0, last, CARRY):
                end = min(start + CARRY, last)
                leaves = await _leaves(live, number, start, end)
                await _compare(live, stream, start, leaves)
                async with connection.transaction():
                    cursor = await connection.execute(_LIVE_MONTHS, (number, start + 1, end))
                    await partitions.ensure(
                        connection, {Month(at.year, at.month) for (at,) in await cursor.fetchall()}
                    )
                    await connection.execute(_TAKE, (number, start + 1, end))
                    await tree.append(connection, start + 1, leaves)
        if last:
            async with connection.transaction():
                await connection.execute(_TAKE_UNSEEN, (last, number, last))
                await connection.execute(_CARRIED, (fresh_name(stream), last))


async def _leaves(live: Connection, stream: int, start: int, end: int) -> list[bytes]:
    """The leaf hashes from ``start``, which begins a tile, up to ``end``, as the live tree has them."""
    keys = [TileKey(0, number) for number in range(start // WIDTH, -(-end // WIDTH))]
    tiles = await get_tiles(live, stream, keys)
    hashes = b"".join(tiles.get(key, b"") for key in keys)[: (end - start) * HASH_BYTES]
    if len(hashes) < (end - start) * HASH_BYTES:
        raise KtError("log_damaged", "The log's tree lacks hashes that the streams can't give any more.")
    return [hashes[at : at + HASH_BYTES] for at in range(0, len(hashes), HASH_BYTES)]


async def _compare(live: Connection, stream: str, start: int, leaves: Sequence[bytes]) -> None:
    parameters = (STREAM_NUMBERS[stream], start + 1, start + len(leaves))
    cursor = await live.cursor(binary=True).execute(_LIVE_BODIES, parameters)
    for sequence, body in await cursor.fetchall():
        if leaf_hash(body) != leaves[sequence - start - 1]:
            raise KtError(
                "log_damaged",
                f"The row {stream}:{sequence} is not what was put on record, and the stream no longer holds it.",
                "`kt events verify` says more.",
            )


async def _held_position(connection: Connection, stream: str) -> int:
    row = await (await connection.execute(_HOLD_STILL, (projection_name(stream),))).fetchone()
    return int(row[0]) if row else 0


async def _exchange(connection: Connection) -> None:
    for here, there in ((LIVE, OLD), (FRESH, LIVE)):
        cursor = await connection.execute(_PARTITIONS, (TABLE, here))
        for name in (*_REBUILT, *(name for (name,) in await cursor.fetchall())):
            move = sql.SQL("ALTER TABLE {} SET SCHEMA {}")
            await connection.execute(move.format(sql.Identifier(here, name), sql.Identifier(there)))
        move = sql.SQL("ALTER FUNCTION {}.{} SET SCHEMA {}")
        await connection.execute(move.format(sql.Identifier(here), sql.SQL(_FUNCTION), sql.Identifier(there)))


async def _empty(connection: Connection, schema: str) -> None:
    async with connection.transaction():
        await connection.execute("SET LOCAL statement_timeout = 0")
        for (name,) in await (await connection.execute(_TABLES, (schema,))).fetchall():
            await connection.execute(sql.SQL("DROP TABLE {}").format(sql.Identifier(schema, name)))
        await connection.execute(
            sql.SQL("DROP FUNCTION IF EXISTS {}.{}").format(sql.Identifier(schema), sql.SQL(_FUNCTION))
        )


async def _nothing(_sequence: int) -> None:
    """The live log's hashes are all there is of what expired."""
    return None  # noqa: RET501

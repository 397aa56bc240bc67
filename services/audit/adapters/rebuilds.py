"""Rebuilds of the log, as rows."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final
from uuid import UUID

from psycopg.types.json import Jsonb

from libs.common.postgres import Connection, Pool, answering
from services.audit.domain.rebuild import Phase, Rebuild, RebuiltTree

_COLUMNS: Final = "id, org, requested_by, requested_at, phase, replayed, total, trees, detail, ended_at"
_ADD: Final = f"INSERT INTO rebuilds ({_COLUMNS}) VALUES ({', '.join(['%s'] * 10)}) ON CONFLICT DO NOTHING"  # noqa: S608
_NAMED: Final = f"SELECT {_COLUMNS} FROM rebuilds WHERE id = %s OR ended_at IS NULL ORDER BY id = %s DESC LIMIT 1"  # noqa: S608
_RUNNING: Final = f"SELECT {_COLUMNS} FROM rebuilds WHERE ended_at IS NULL"  # noqa: S608
_NEWEST: Final = f"SELECT {_COLUMNS} FROM rebuilds ORDER BY ended_at IS NULL DESC, requested_at DESC LIMIT 1"  # noqa: S608
_PUT: Final = """
UPDATE rebuilds SET phase = %s, replayed = %s, total = %s, trees = %s, detail = %s, ended_at = %s WHERE id = %s"""
_TURN: Final = "SELECT pg_try_advisory_lock(hashtext('audit/rebuild'))"
_DATABASE: Final = "The audit log's database"


class PostgresRebuilds:
    """Implements ``Rebuilds``."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def add(self, rebuild: Rebuild) -> Rebuild:
        values = (UUID(rebuild.id), rebuild.org, rebuild.requested_by, rebuild.requested_at, *_changing(rebuild))
        with answering(_DATABASE):
            async with self._pool.connection() as connection:
                await connection.execute(_ADD.encode(), values)
                return await _one(connection, _NAMED, UUID(rebuild.id), UUID(rebuild.id)) or rebuild

    async def newest(self) -> Rebuild | None:
        with answering(_DATABASE):
            async with self._pool.connection() as connection:
                return await _one(connection, _NEWEST)

    async def put(self, rebuild: Rebuild) -> None:
        with answering(_DATABASE):
            async with self._pool.connection() as connection:
                await put_rebuild(connection, rebuild)

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[Rebuild | None]:
        with answering(_DATABASE):
            async with self._pool.connection() as connection:
                running = await _one(connection, _RUNNING)
                if running is None:
                    yield None
                    return
                row = await (await connection.execute(_TURN)).fetchone()
                mine = bool(row and row[0])
                try:
                    # Looked up again: who had the turn before may just have ended it.
                    yield await _one(connection, _RUNNING) if mine else None
                finally:
                    if mine and not connection.closed:
                        await connection.execute("SELECT pg_advisory_unlock_all()")


async def put_rebuild(connection: Connection, rebuild: Rebuild) -> None:
    """In the caller's transaction, if there is one."""
    await connection.execute(_PUT, (*_changing(rebuild), UUID(rebuild.id)))


def _changing(rebuild: Rebuild) -> tuple[Any, ...]:
    trees = [{"stream": tree.stream, "size": tree.size, "root": tree.root.hex()} for tree in rebuild.trees]
    return (rebuild.phase.value, rebuild.replayed, rebuild.total, Jsonb(trees), rebuild.detail, rebuild.ended_at)


async def _one(connection: Connection, query: str, *parameters: Any) -> Rebuild | None:
    row = await (await connection.execute(query.encode(), parameters)).fetchone()
    if row is None:
        return None
    id_, org, requested_by, requested_at, phase, replayed, total, trees, detail, ended_at = row
    return Rebuild(
        id=str(id_),
        org=org,
        requested_by=requested_by,
        requested_at=requested_at,
        phase=Phase(phase),
        replayed=replayed,
        total=total,
        trees=tuple(RebuiltTree(tree["stream"], tree["size"], bytes.fromhex(tree["root"])) for tree in trees),
        detail=detail,
        ended_at=ended_at,
    )

"""What was signed, in PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from libs.common.postgres import Connection, Pool, answering
from services.keys.application.ports import LockedHead
from services.keys.domain.checkpoint_signing import Head

_PREPARE: Final = "SET LOCAL synchronous_commit = on"
_LOCK: Final = "SELECT pg_advisory_xact_lock(hashtext('keys/signed_heads'))"
_HEAD: Final = "SELECT size, root FROM signed_heads WHERE origin = %s"
_MOVE: Final = """
INSERT INTO signed_heads (origin, size, root) VALUES (%s, %s, %s)
ON CONFLICT (origin) DO UPDATE SET size = EXCLUDED.size, root = EXCLUDED.root"""


class PostgresSignedHeads:
    """Implements ``SignedHeads``."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    @asynccontextmanager
    async def locked(self, origin: str) -> AsyncIterator[LockedHead]:
        with answering("The key service's database"):
            async with self._pool.connection() as connection, connection.transaction():
                await connection.execute(_PREPARE)
                await connection.execute(_LOCK)
                row = await (await connection.execute(_HEAD, (origin,))).fetchone()
                yield _Locked(connection, origin, Head(row[0], bytes(row[1])) if row else None)


class _Locked:
    def __init__(self, connection: Connection, origin: str, value: Head | None) -> None:
        self._connection = connection
        self._origin = origin
        self.value = value

    async def move(self, to: Head) -> None:
        await self._connection.execute(_MOVE, (self._origin, to.size, to.root))

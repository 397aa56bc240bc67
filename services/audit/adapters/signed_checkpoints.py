"""Trees and signed checkpoints, read from PostgreSQL; new checkpoints stored there."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final
from uuid import UUID

from libs.common.errors import KtError
from libs.common.postgres import Pool, answering
from libs.common.transparency.merkle import Range
from services.audit.adapters.tree import stored_hashes, stored_size
from services.audit.domain.checkpoint import SignedCheckpoint
from services.audit.domain.streams import STREAM_NAMES, STREAM_NUMBERS

_DATABASE: Final = "The audit log's database"
_COLUMNS: Final = "stream, size, root, key_id, note, signed_at"
_NEWEST: Final = f"SELECT {_COLUMNS} FROM checkpoints_signed WHERE stream = %s ORDER BY size DESC LIMIT 1"  # noqa: S608
_AT: Final = f"SELECT {_COLUMNS} FROM checkpoints_signed WHERE stream = %s AND size = %s"  # noqa: S608
_ADD: Final = f"INSERT INTO checkpoints_signed ({_COLUMNS}) VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING"  # noqa: S608
_SIZES: Final = "SELECT key_id, stream, min(size), max(size) FROM checkpoints_signed GROUP BY key_id, stream"
_TURN: Final = "SELECT pg_advisory_xact_lock(hashtext(%s))"
_MINIMUM: Final = "SELECT max(minimum) FROM minimums WHERE stream = %s"


class PostgresTrees:
    """Implements ``Trees``. Tiles only grow, so what is read in several steps fits together."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def size(self, stream: str) -> int:
        with answering(_DATABASE):
            async with self._pool.connection() as connection:
                return await stored_size(connection, STREAM_NUMBERS[stream])

    async def hashes(self, stream: str, ranges: Sequence[Range]) -> list[bytes]:
        with answering(_DATABASE):
            async with self._pool.connection() as connection:
                found = await stored_hashes(connection, STREAM_NUMBERS[stream], ranges)
        if found is None:
            raise KtError(
                "log_damaged",
                f"The tree over {stream} does not hold the hashes that this takes.",
                "Compare the log with its proofs and the stream: `kt events verify`.",
            )
        return found


class PostgresCheckpoints:
    """Implements ``Checkpoints``."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    @asynccontextmanager
    async def turn(self, stream: str) -> AsyncIterator[None]:
        with answering(_DATABASE):
            async with self._pool.connection() as connection, connection.transaction():
                await connection.execute(_TURN, (f"audit/checkpoint/{stream}",))
                yield

    async def newest(self, stream: str) -> SignedCheckpoint | None:
        return await self._one(_NEWEST, STREAM_NUMBERS[stream])

    async def at(self, stream: str, size: int) -> SignedCheckpoint | None:
        return await self._one(_AT, STREAM_NUMBERS[stream], size)

    async def add(self, checkpoint: SignedCheckpoint) -> None:
        values = (
            STREAM_NUMBERS[checkpoint.stream],
            checkpoint.size,
            checkpoint.root,
            UUID(checkpoint.key_id),
            checkpoint.note,
            checkpoint.signed_at,
        )
        with answering(_DATABASE):
            async with self._pool.connection() as connection:
                await connection.execute(_ADD, values)

    async def minimum(self, stream: str) -> int:
        return int((await self._rows(_MINIMUM, STREAM_NUMBERS[stream]))[0][0] or 0)

    async def signed_sizes(self) -> Mapping[tuple[str, str], tuple[int, int]]:
        rows = await self._rows(_SIZES)
        return {(str(key_id), STREAM_NAMES[stream]): (first, last) for key_id, stream, first, last in rows}

    async def _one(self, query: str, *parameters: Any) -> SignedCheckpoint | None:
        rows = await self._rows(query, *parameters)
        if not rows:
            return None
        stream, size, root, key_id, note, signed_at = rows[0]
        return SignedCheckpoint(STREAM_NAMES[stream], size, bytes(root), str(key_id), note, signed_at)

    async def _rows(self, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
        with answering(_DATABASE):
            async with self._pool.connection() as connection:
                return await (await connection.execute(query.encode(), parameters)).fetchall()

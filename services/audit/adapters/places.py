"""How far each place outside has the log's states, and what witnesses signed; in PostgreSQL."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from libs.common.postgres import Pool, answering
from libs.common.transparency.note import Note, Signature
from services.audit.domain.checkpoint import SignedCheckpoint
from services.audit.domain.streams import STREAM_NUMBERS

_SIZE: Final = b"SELECT size FROM checkpoint_copies WHERE place = %s AND stream = %s"
_MOVE: Final = b"""
INSERT INTO checkpoint_copies (place, stream, size, copied_at) VALUES (%s, %s, %s, %s)
ON CONFLICT (place, stream) DO UPDATE SET size = EXCLUDED.size, copied_at = EXCLUDED.copied_at"""
_ADD: Final = b"INSERT INTO cosignatures (stream, size, line) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING"
_LINES: Final = b"SELECT line FROM cosignatures WHERE stream = %s AND size = %s ORDER BY line"


class PostgresPlaces:
    """Implements ``Places``."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def size(self, place: str, stream: str) -> int:
        rows = await self._rows(_SIZE, place, STREAM_NUMBERS[stream])
        return int(rows[0][0]) if rows else 0

    async def move(self, place: str, stream: str, size: int, moment: datetime) -> None:
        await self._rows(_MOVE, place, STREAM_NUMBERS[stream], size, moment)

    async def add_cosignature(self, checkpoint: SignedCheckpoint, line: str) -> None:
        await self._rows(_ADD, STREAM_NUMBERS[checkpoint.stream], checkpoint.size, line)

    async def cosigned(self, checkpoint: SignedCheckpoint) -> str:
        rows = await self._rows(_LINES, STREAM_NUMBERS[checkpoint.stream], checkpoint.size)
        note = Note.parse(checkpoint.note.encode())
        return str(note.with_signatures(Signature.parse(line) for (line,) in rows))

    async def _rows(self, query: bytes, *parameters: Any) -> list[tuple[Any, ...]]:
        with answering("The audit log's database"):
            async with self._pool.connection() as connection:
                cursor = await connection.execute(query, parameters)
                return await cursor.fetchall() if cursor.description else []

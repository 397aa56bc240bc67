"""Exports and their files in PostgreSQL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final
from uuid import UUID

import orjson
from psycopg.types.json import Jsonb

from libs.common.postgres import Pool, answering
from libs.common.transparency.manifest import ExportedFile, Format
from libs.common.transparency.tiles import TileKey
from services.audit.adapters.tree import get_tiles
from services.audit.domain.export import Export, LogRange, Segment
from services.audit.domain.streams import STREAM_NAMES, STREAM_NUMBERS

_DATABASE: Final = "The audit log's database"
_ADD: Final = "INSERT INTO exports VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING"
_FIND: Final = "SELECT * FROM exports WHERE id = %s AND org = %s"
_PUT: Final = """
INSERT INTO export_segments (export, number, stream, last_sequence, file) VALUES (%s, %s, %s, %s, %s)
ON CONFLICT (export, number) DO UPDATE SET file = EXCLUDED.file"""
_SEGMENTS: Final = "SELECT number, stream, last_sequence, file FROM export_segments WHERE export = %s"


class PostgresExportStore:
    """Implements ``ExportStore``."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def add(self, export: Export) -> None:
        logs = Jsonb([asdict(log) for log in export.logs])
        await self._run(
            _ADD,
            UUID(export.id),
            export.org,
            export.format.value,
            export.filter,
            export.begins,
            export.ends,
            export.requester_type,
            export.requester_id,
            export.requested_at,
            logs,
        )

    async def find(self, org: str, export_id: str) -> Export | None:
        try:
            key = UUID(export_id)
        except ValueError:
            return None
        rows = await self._run(_FIND, key, org)
        if not rows:
            return None
        id_, owner, format_, filter_, begins, ends, requester_type, requester_id, requested_at, logs = rows[0]
        return Export(
            id=str(id_),
            org=owner,
            format=Format(format_),
            filter=filter_,
            begins=begins,
            ends=ends,
            requester_type=requester_type,
            requester_id=requester_id,
            requested_at=requested_at,
            logs=tuple(LogRange(**log) for log in logs),
        )

    async def put(self, export_id: str, segment: Segment) -> None:
        file = None if segment.file is None else Jsonb(segment.file.model_dump(mode="json"))
        stream = STREAM_NUMBERS[segment.stream]
        await self._run(_PUT, UUID(export_id), segment.number, stream, segment.last, file)

    async def segment(self, export_id: str, number: int) -> Segment | None:
        rows = await self._run(f"{_SEGMENTS} AND number = %s", UUID(export_id), number)
        return _segment(*rows[0]) if rows else None

    async def segments(self, export_id: str) -> Sequence[Segment]:
        return [_segment(*row) for row in await self._run(f"{_SEGMENTS} ORDER BY number", UUID(export_id))]

    async def _run(self, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
        with answering(_DATABASE):
            async with self._pool.connection() as connection:
                cursor = await connection.execute(query.encode(), parameters)
                return await cursor.fetchall() if cursor.description else []


class PostgresTiles:
    """Implements ``Tiles``."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def tiles(self, stream: str, keys: Sequence[TileKey]) -> Mapping[TileKey, bytes]:
        with answering(_DATABASE):
            async with self._pool.connection() as connection:
                return await get_tiles(connection, STREAM_NUMBERS[stream], keys)


def _segment(number: int, stream: int, last: int, file: Any) -> Segment:
    return Segment(
        number,
        STREAM_NAMES[stream],
        last,
        None if file is None else ExportedFile.model_validate_json(orjson.dumps(file)),
    )

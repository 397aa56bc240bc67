"""Finding one entry by its place or its id."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from libs.common.errors import KtError
from libs.common.postgres import Pool, answering
from services.audit.application.ports import FoundEntry
from services.audit.domain.streams import STREAM_NAMES, STREAM_NUMBERS

_ENTRY: Final = b"SELECT stream, sequence, body FROM entries WHERE org = %s"
_AT: Final = _ENTRY + b" AND stream = %s AND sequence = %s ORDER BY recorded_at LIMIT 1"
# Ids have no index: it would cost every write. They hold their time, and entries_by_time leads to that.
_WITHIN: Final = (
    _ENTRY + b" AND recorded_at BETWEEN %s AND %s AND event_id = %s ORDER BY recorded_at, stream, sequence LIMIT 1"
)
_WINDOWS: Final = (timedelta(seconds=2), timedelta(minutes=2), timedelta(days=1))
"""How far the clock that made the id and the one that stored the message may be apart; the nearest first."""

_TIME_ORDERED: Final = 7


class PostgresEntryFinder:
    """Implements ``EntryFinder``."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def at(self, org: str, stream: str, sequence: int) -> FoundEntry | None:
        return await self._one(_AT, org, STREAM_NUMBERS[stream], sequence)

    async def with_id(self, org: str, event_id: str) -> FoundEntry | None:
        moment = time_of(event_id)
        for window in _WINDOWS:
            found = await self._one(_WITHIN, org, moment - window, moment + window, event_id)
            if found is not None:
                return found
        return None

    async def _one(self, query: bytes, *parameters: Any) -> FoundEntry | None:
        with answering("The audit log's database"):
            async with self._pool.connection() as connection:
                cursor = await connection.cursor(binary=True).execute(query, parameters, prepare=False)
                row = await cursor.fetchone()
        return None if row is None else FoundEntry(STREAM_NAMES[row[0]], row[1], row[2])


def time_of(event_id: str) -> datetime:
    """When an event's id was made (UUIDv7, RFC 9562 section 5.7).

    Raises:
        KtError: ``invalid_request`` when the id holds no time.
    """
    try:
        found = uuid.UUID(event_id)
    except ValueError:
        found = uuid.UUID(int=0)
    if found.version != _TIME_ORDERED or str(found) != event_id:
        raise KtError(
            "invalid_request",
            "The id is not one of an event; expected a UUID of version 7 in lower case.",
            "Name the event by its position instead, as `kt events list` shows it: STREAM:SEQUENCE.",
        )
    return datetime.fromtimestamp((found.int >> 80) / 1000, UTC)

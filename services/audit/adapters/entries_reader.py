"""Reading the log. Each page is one scan along an index that ends in the page's order."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Mapping, Sequence
from typing import Any, Final

import psycopg
from psycopg import sql
from psycopg_pool import PoolTimeout

from libs.common.errors import KtError
from libs.common.postgres import Pool
from services.audit.adapters.entries_projection import TABLE, projection_name
from services.audit.adapters.filter_sql import Conditions
from services.audit.domain.filter import Filter
from services.audit.domain.page import EntryKey, ListedEntry, Positions
from services.audit.domain.streams import STREAM_NAMES

QUERY_TIMEOUT_S: Final = 3.5
"""Less than what a caller waits for an answer, so that it gets one and no query runs on for nobody."""

_SELECT: Final = f"SELECT recorded_at, stream, sequence, type, body FROM {TABLE} WHERE {{conditions}} ORDER BY "  # noqa: S608
_NEWEST: Final = sql.SQL(_SELECT + "recorded_at DESC, stream DESC, sequence DESC LIMIT %s")
_OLDEST: Final = sql.SQL(_SELECT + "sequence LIMIT %s")
_POSITIONS: Final = "SELECT projection, sequence FROM checkpoints"

_PROJECTIONS: Final[Mapping[int, str]] = {number: projection_name(name) for number, name in STREAM_NAMES.items()}


class PostgresEntryReader:
    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def newest(
        self, org: str, filter_: Filter, limit: int, *, before: EntryKey | None = None, up_to: Positions | None = None
    ) -> Sequence[ListedEntry]:
        return await self._entries(*newest_query(org, filter_, limit, before, up_to))

    async def after(
        self, org: str, filter_: Filter, limit: int, *, after: Positions, up_to: Positions
    ) -> Sequence[ListedEntry]:
        streams = [
            await self._entries(
                *after_query(org, filter_, limit, stream=stream, after=after[stream], up_to=up_to[stream])
            )
            for stream in STREAM_NAMES
            if after[stream] < up_to[stream]
        ]
        return list(heapq.merge(*streams, key=lambda entry: entry.key.recorded_at))[:limit]

    async def positions(self) -> Positions:
        found = dict(await self._fetch(_POSITIONS, ()))
        return {number: found.get(name, 0) for number, name in _PROJECTIONS.items()}

    async def _entries(self, query: sql.Composed, parameters: Sequence[Any]) -> list[ListedEntry]:
        rows = await self._fetch(query, parameters)
        return [ListedEntry(EntryKey(*row[:3]), row[3], row[4]) for row in rows]

    async def _fetch(self, query: sql.Composed | str, parameters: Sequence[Any]) -> list[tuple[Any, ...]]:
        try:
            async with asyncio.timeout(QUERY_TIMEOUT_S), self._pool.connection() as connection:
                # Not prepared: a plan made for these very values can leave out partitions and use prefixes.
                cursor = await connection.cursor(binary=True).execute(query, parameters, prepare=False)
                return await cursor.fetchall()
        except TimeoutError:
            raise KtError(
                "unavailable",
                f"The log could not be searched within {QUERY_TIMEOUT_S:g} s.",
                "Narrow the search, for example by time: `time>=2026-11-01 AND …`.",
            ) from None
        except (psycopg.OperationalError, PoolTimeout):
            raise KtError("unavailable", "The audit log's database does not answer.", "Try again.") from None


def newest_query(
    org: str, filter_: Filter, limit: int, before: EntryKey | None, up_to: Positions | None
) -> tuple[sql.Composed, list[Any]]:
    conditions = Conditions()
    conditions.add("org = %s", org)
    conditions.add_filter(filter_)
    if before is not None:
        conditions.add("(recorded_at, stream, sequence) < (%s, %s, %s)", *before)
        conditions.add("recorded_at <= %s", before.recorded_at)  # row comparisons don't leave out partitions
    for stream, sequence in (up_to or {}).items():
        conditions.add("(stream <> %s OR sequence <= %s)", stream, sequence)
    return _NEWEST.format(conditions=conditions.clause), [*conditions.parameters, limit]


def after_query(
    org: str, filter_: Filter, limit: int, *, stream: int, after: int, up_to: int
) -> tuple[sql.Composed, list[Any]]:
    conditions = Conditions()
    conditions.add("org = %s AND stream = %s AND sequence > %s AND sequence <= %s", org, stream, after, up_to)
    conditions.add_filter(filter_)
    return _OLDEST.format(conditions=conditions.clause), [*conditions.parameters, limit]

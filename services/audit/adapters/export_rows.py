"""Reading the log for exports: by ranges of sequences, never by offsets, so that the millionth row is as near as the
first."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from psycopg import sql

from libs.common.postgres import Pool, answering
from services.audit.adapters.entries_projection import TABLE
from services.audit.adapters.filter_sql import Conditions
from services.audit.domain.export import Row
from services.audit.domain.filter import Filter
from services.audit.domain.streams import STREAM_NUMBERS

_ROWS: Final = sql.SQL(f"SELECT sequence, body, type <> '' FROM {TABLE} WHERE {{}} ORDER BY sequence LIMIT %s")  # noqa: S608
_EDGE: Final = f"SELECT sequence FROM {TABLE} WHERE {{}} ORDER BY sequence {{}} LIMIT 1"  # noqa: S608
_ROWS_OF_ALL: Final = f"SELECT count(DISTINCT sequence) FROM {TABLE} WHERE stream = %s AND sequence BETWEEN %s AND %s"  # noqa: S608
_UNSEEN: Final = """
SELECT coalesce(sum(least(last_sequence, %(last)s) - greatest(first_sequence, %(first)s) + 1), 0)::int8
FROM unseen WHERE stream = %(stream)s AND first_sequence <= %(last)s AND last_sequence >= %(first)s"""

_WENT: Final = f"""
SELECT coalesce(sum(upper(went) - lower(went) - (
    SELECT count(DISTINCT sequence) FROM {TABLE}
    WHERE stream = %(stream)s AND sequence >= lower(went) AND sequence < upper(went))), 0)::int8
FROM unnest((
    SELECT range_agg(int8range(greatest(first_sequence, %(first)s), least(last_sequence, %(last)s), '[]'))
    FROM retired
    WHERE stream = %(stream)s AND first_sequence <= %(last)s AND last_sequence >= %(first)s)) AS went"""  # noqa: S608


class PostgresRowSource:
    """Implements ``RowSource``."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def rows(
        self, org: str, filter_: Filter, stream: str, *, first: int, last: int, limit: int
    ) -> Sequence[Row]:
        conditions = Conditions()
        number = STREAM_NUMBERS[stream]
        conditions.add("org = %s AND stream = %s AND sequence >= %s AND sequence <= %s", org, number, first, last)
        conditions.add_filter(filter_)
        return [
            Row(*row) for row in await self._fetch(_ROWS.format(conditions.clause), [*conditions.parameters, limit])
        ]

    async def recorded(self, stream: str, begins: datetime | None, ends: datetime | None) -> tuple[int, int] | None:
        conditions = Conditions()
        conditions.add("stream = %s", STREAM_NUMBERS[stream])
        if begins is not None:
            conditions.add("recorded_at >= %s", begins)
        if ends is not None:
            conditions.add("recorded_at < %s", ends)
        edges = []
        for direction in ("ASC", "DESC"):
            query = sql.SQL(_EDGE).format(conditions.clause, sql.SQL(direction))
            edges += await self._fetch(query, conditions.parameters)
        return (edges[0][0], edges[1][0]) if len(edges) == 2 else None  # noqa: PLR2004

    async def accounted(self, stream: str, first: int, last: int) -> int:
        number = STREAM_NUMBERS[stream]
        ((rows,),) = await self._fetch(sql.SQL(_ROWS_OF_ALL), (number, first, last))
        span = {"stream": number, "first": first, "last": last}
        ((unseen,),) = await self._fetch(sql.SQL(_UNSEEN), span)
        ((went,),) = await self._fetch(sql.SQL(_WENT), span) if rows + unseen < last - first + 1 else ((0,),)
        return int(rows) + int(unseen) + int(went)

    async def _fetch(self, query: sql.SQL | sql.Composed, parameters: Any) -> list[tuple[Any, ...]]:
        with answering("The audit log's database"):
            async with self._pool.connection() as connection:
                # Not prepared, as in entries_reader: a plan for these very values leaves out partitions.
                cursor = await connection.cursor(binary=True).execute(query, parameters, prepare=False)
                return await cursor.fetchall()

"""How long the log is kept, what is to go, and its removal."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

from psycopg import sql

from libs.common.calendar import Month, Span
from libs.common.errors import KtError
from libs.common.postgres import Pool, answering
from services.audit.adapters.entries_projection import TABLE
from services.audit.adapters.partitions import partition_name
from services.audit.adapters.tree import stored_root, stored_size
from services.audit.application.keeping_ports import MonthContent, SequenceRange, TreeHead
from services.audit.domain.retention import Hold, Rules

log = logging.getLogger(__name__)

_DAYS: Final = "SELECT org, gateway = '', max(days) FROM retention GROUP BY 1, 2"
_HOLDS: Final = "SELECT org, hold, begins, ends, reason, added_at, added_by FROM holds ORDER BY begins, org, hold"
_DECIDED: Final = "SELECT DISTINCT period, org FROM retired"
_TURN: Final = "SELECT pg_try_advisory_lock(hashtext('audit/retention'))"
_PARTITIONS: Final = """
SELECT part.relname, inh.inhdetachpending FROM pg_inherits inh JOIN pg_class part ON part.oid = inh.inhrelid
WHERE inh.inhparent = to_regclass(%s)"""
_LOOSE: Final = """
SELECT relname FROM pg_class
WHERE relnamespace = current_schema()::regnamespace AND relkind = 'r' AND relname ~ %s AND NOT relispartition"""
_CONTENT: Final = "SELECT stream, min(sequence), max(sequence), count(*) FROM {part} GROUP BY stream ORDER BY stream"
_BETWEEN: Final = "SELECT count(*) FROM entries WHERE stream = %s AND sequence BETWEEN %s AND %s"
_UNSEEN: Final = """
SELECT sum(least(last_sequence, %s) - greatest(first_sequence, %s) + 1) FROM unseen
WHERE stream = %s AND last_sequence >= %s AND first_sequence <= %s"""
_ORGS: Final = "SELECT DISTINCT org FROM {part}"
_DETACH: Final = "ALTER TABLE {table} DETACH PARTITION {part} CONCURRENTLY"
_FINALIZE: Final = "ALTER TABLE {table} DETACH PARTITION {part} FINALIZE"
_DROP: Final = "DROP TABLE IF EXISTS {part}"
_MINIMUM: Final = """
INSERT INTO minimums (stream, minimum, decided_at)
SELECT gone.stream, coalesce(min(left_over.sequence), gone.last_sequence + 1) - 1, now()
FROM (SELECT stream, max(last_sequence) AS last_sequence FROM retired GROUP BY stream) AS gone
CROSS JOIN LATERAL (SELECT min(sequence) AS sequence FROM entries WHERE stream = gone.stream) AS left_over
GROUP BY gone.stream, gone.last_sequence
ON CONFLICT DO NOTHING"""
_DATABASE: Final = "The audit log's database"


class PostgresKeptLog:
    """Implements ``KeptLog``."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[bool]:
        with answering(_DATABASE):
            async with self._pool.connection() as connection:
                row = await (await connection.execute(_TURN)).fetchone()
                mine = bool(row and row[0])
                try:
                    yield mine
                finally:
                    if mine and not connection.closed:
                        await connection.execute("SELECT pg_advisory_unlock_all()")

    async def rules(self) -> Rules:
        rows = await self._fetch(_DAYS)
        days = {org: most for org, by_org, most in rows if by_org}
        policies = {org: most for org, by_org, most in rows if not by_org}
        holds = [
            Hold(org, name, Span(begins, ends), reason, added_at, added_by)
            for org, name, begins, ends, reason, added_at, added_by in await self._fetch(_HOLDS)
        ]
        return Rules(days, policies, tuple(holds))

    async def decided(self) -> Mapping[Month, frozenset[str]]:
        found: defaultdict[Month, set[str]] = defaultdict(set)
        for period, org in await self._fetch(_DECIDED):
            found[Month.parse(period)].add(org)
        return {month: frozenset(orgs) for month, orgs in found.items()}

    async def months(self) -> Sequence[Month]:
        """Also those whose removal was interrupted."""
        attached = [name for name, _ in await self._fetch(_PARTITIONS, TABLE)]
        loose = [name for (name,) in await self._fetch(_LOOSE, f"^{TABLE}_[0-9]{{4}}_[0-9]{{2}}$")]
        return sorted(_month_of(name) for name in {*attached, *loose})

    async def content(self, month: Month) -> MonthContent:
        part = sql.Identifier(partition_name(TABLE, month))
        ranges = [SequenceRange(*row) for row in await self._fetch(sql.SQL(_CONTENT).format(part=part))]
        orgs = frozenset(org for (org,) in await self._fetch(sql.SQL(_ORGS).format(part=part)))
        gaps = [found.stream for found in ranges if await self._has_gap(found)]
        return MonthContent(tuple(ranges), orgs, tuple(gaps))

    async def head(self, stream: int) -> TreeHead:
        with answering(_DATABASE):
            async with self._pool.connection() as connection:
                size = await stored_size(connection, stream)
                root = await stored_root(connection, stream, size)
        if root is None:
            raise KtError("log_damaged", "The tree over the log can't be read.", "`kt events verify` says more.")
        return TreeHead(size, root)

    async def remove(self, month: Month) -> None:
        name = partition_name(TABLE, month)
        names = {"table": sql.Identifier(TABLE), "part": sql.Identifier(name)}
        pending = dict(await self._fetch(_PARTITIONS, TABLE)).get(name)
        with answering(_DATABASE):
            async with self._pool.connection() as connection:
                if pending is not None:
                    # CONCURRENTLY waits for readers of the month, and lets all others go on.
                    detach = _FINALIZE if pending else _DETACH
                    await connection.execute(sql.SQL(detach).format(**names))
                async with connection.transaction():
                    await connection.execute(sql.SQL(_DROP).format(**names))
                    await connection.execute(_MINIMUM)

    async def _has_gap(self, found: SequenceRange) -> bool:
        """Months of a cluster may share a boundary: what one seems to lack may lie in its neighbour."""
        span = found.last - found.first + 1
        if found.entries == span:
            return False
        rows = await self._fetch(_BETWEEN, found.stream, found.first, found.last)
        unseen = await self._fetch(_UNSEEN, found.last, found.first, found.stream, found.first, found.last)
        return bool(rows[0][0] + (unseen[0][0] or 0) < span)

    async def _fetch(self, query: str | sql.Composed, *parameters: object) -> list[tuple[Any, ...]]:
        with answering(_DATABASE):
            async with self._pool.connection() as connection:
                return await (await connection.execute(query, parameters)).fetchall()


def _month_of(partition: str) -> Month:
    year, month = partition.removeprefix(f"{TABLE}_").split("_")
    return Month(int(year), int(month))

"""Monthly partitions of the log, made by the projector in the transaction that needs them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from psycopg import sql

from libs.common.calendar import Month
from libs.common.postgres import Connection

_LOCK: Final = "SELECT pg_advisory_xact_lock(hashtext('audit/partitions'))"
# Not to_regclass(): it may answer from a cache that does not know what another session has just committed.
_EXISTS: Final = (
    "SELECT EXISTS (SELECT FROM pg_class WHERE relname = %s AND relnamespace = current_schema()::regnamespace)"
)

# ATTACH takes a lock that lets readers and writers of the log go on; CREATE ... PARTITION OF would wait for every
# running query, and every new query would wait behind it.
_MAKE: Final = (
    "CREATE TABLE {part} (LIKE {table} INCLUDING STORAGE)",
    "REVOKE UPDATE, DELETE, TRUNCATE ON {part} FROM CURRENT_USER",
    "ALTER TABLE {table} ATTACH PARTITION {part} FOR VALUES FROM ({first}) TO ({next})",
)


def partition_name(table: str, month: Month) -> str:
    return f"{table}_{month.year:04}_{month.month:02}"


class Partitions:
    """Makes the months of one table that are missing. Several projectors may do so at once."""

    def __init__(self, table: str) -> None:
        self._table = table
        self._known: set[Month] = set()

    async def ensure(self, connection: Connection, months: Iterable[Month]) -> None:
        """Inside the caller's transaction: a partition made here goes when that is rolled back."""
        for month in sorted(set(months) - self._known):
            await self._ensure(connection, month)

    def forget(self) -> None:
        """Look again: a known partition is gone."""
        self._known.clear()

    async def _ensure(self, connection: Connection, month: Month) -> None:
        name = partition_name(self._table, month)
        if await self._exists(connection, name):
            self._known.add(month)
            return
        await connection.execute(_LOCK)
        if await self._exists(connection, name):
            return
        names = {
            "table": sql.Identifier(self._table),
            "part": sql.Identifier(name),
            "first": sql.Literal(month.first_day.isoformat()),
            "next": sql.Literal(month.following.first_day.isoformat()),
        }
        for statement in _MAKE:
            await connection.execute(sql.SQL(statement).format(**names))

    @staticmethod
    async def _exists(connection: Connection, name: str) -> bool:
        row = await (await connection.execute(_EXISTS, (name,))).fetchone()
        return row is not None and bool(row[0])

"""The earlier system's table, in whatever PostgreSQL the operator names."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final
from uuid import UUID

import psycopg
from psycopg import AsyncConnection, sql
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool, PoolTimeout, TooManyRequests

from libs.common.clock import Clock
from libs.common.errors import KtError
from libs.common.legacy_rows import LegacyRow, UnusableRow, read_row
from libs.common.legacy_table import IN_ORDER, INSPECT, Layout, TableName, layout_of, raw_row
from libs.common.postgres import Connection, Pool, answering
from libs.common.secret import Secret
from services.keys.adapters import sql as own
from services.keys.application.ports import DueClaim, Survey
from services.keys.domain.sealed import Binding

POOL_SIZE: Final = 4
MAX_WAITING: Final = 16
"""Few, because whoever waits here holds a place that requests for sealed values need."""

ACQUIRE_TIMEOUT_S: Final = 1.5
STATEMENT_TIMEOUT_MS: Final = 2000
FETCH: Final = 200
_DATABASE: Final = "The key service's database"
_BEYOND_NAMES: Final = "\x7f"

_NAMED: Final = sql.SQL("name = ANY(%s::text[])")
_SHAPE: Final = sql.SQL("name::text COLLATE \"C\" ~ '^[A-Za-z0-9_.-]{1,128}$'")
_PAGE: Final = sql.SQL(
    '{shape} AND name::text COLLATE "C" > %s AND name::text COLLATE "C" >= %s AND name::text COLLATE "C" < %s'
).format(shape=_SHAPE)
_A_PAGE: Final = sql.SQL("{} LIMIT %s").format(IN_ORDER)
_ALL: Final = sql.SQL("true")
_DELETE: Final = sql.SQL('DELETE FROM {} WHERE name = %s AND name::text COLLATE "C" = %s AND xmin::text = %s')
"""With the column's own equality for its index, and with that of bytes, lest AMBER be deleted with amber."""

_MAY_DELETE: Final = "SELECT has_table_privilege(%s, 'DELETE')"


@asynccontextmanager
async def open_legacy_pool(conninfo: Secret) -> AsyncIterator[Pool]:
    """A pool that connects when it is first asked: the key service starts whether that database answers or not.

    Raises:
        KtError: ``misconfigured`` when the text is no connection string; it is not repeated.
    """
    pool: Pool = AsyncConnectionPool(
        checked_conninfo(conninfo),
        min_size=0,
        max_size=POOL_SIZE,
        timeout=ACQUIRE_TIMEOUT_S,
        max_waiting=MAX_WAITING,
        reconnect_timeout=ACQUIRE_TIMEOUT_S,
        kwargs={"autocommit": True, "connect_timeout": 2, "application_name": "keeptrusts-keys"},
        configure=_prepare,
        connection_class=AsyncConnection[TupleRow],
        open=False,
    )
    await pool.open()
    try:
        yield pool
    finally:
        await pool.close(timeout=2)


def checked_conninfo(conninfo: Secret) -> str:
    """
    Raises:
        KtError: ``misconfigured``; libpq's own words would quote what it could not read.
    """
    try:
        text = conninfo.reveal().decode()
        conninfo_to_dict(text)
    except (UnicodeDecodeError, psycopg.Error):
        raise KtError(
            "misconfigured",
            "KEEPTRUSTS_LEGACY_POSTGRES_DSN is no connection string; expected postgresql://… or key=value pairs.",
            "See docs/reference/settings.md.",
        ) from None
    return text


async def _prepare(connection: Connection) -> None:
    await connection.execute(f"SET statement_timeout = {STATEMENT_TIMEOUT_MS}")
    await connection.execute("SET synchronous_commit = on")


class PostgresLegacyTable:
    """Implements ``LegacyTable``."""

    def __init__(self, pool: Pool, table: TableName) -> None:
        self._pool = pool
        self._table = table
        self._layout: Layout | None = None

    def __str__(self) -> str:
        return str(self._table)

    async def find(self, names: Sequence[str]) -> Sequence[LegacyRow | UnusableRow]:
        async with self._reading() as (connection, layout):
            cursor = await connection.execute(layout.select(_NAMED), (list(names),), binary=True)
            rows = [raw_row(row) for row in await cursor.fetchall()]
        wanted = {name.encode() for name in names}  # the column's own equality may be another
        return [read_row(row) for row in {row.name: row for row in rows if row.name in wanted}.values()]

    async def page(self, prefix: str, after: str, limit: int) -> tuple[Sequence[LegacyRow | UnusableRow], str]:
        async with self._reading() as (connection, layout):
            values = (after, prefix, prefix + _BEYOND_NAMES, limit)
            cursor = await connection.execute(layout.select(_PAGE, _A_PAGE), values, binary=True)
            rows = [raw_row(row) for row in await cursor.fetchall()]
        last = (rows[-1].name or b"").decode() if len(rows) == limit else ""
        return [read_row(row) for row in {row.name: row for row in rows}.values()], last

    async def survey(self, examples: int) -> Survey:
        usable = 0
        unusable: list[UnusableRow] = []
        async with (
            self._reading() as (connection, layout),
            connection.transaction(),
            connection.cursor("legacy_rows", binary=True) as cursor,
        ):
            cursor.itersize = FETCH
            await cursor.execute(layout.select(_ALL, IN_ORDER))
            async for values in cursor:
                row = read_row(raw_row(values))
                if isinstance(row, UnusableRow):
                    unusable.append(row)
                else:
                    usable += 1
        return Survey(usable, len(unusable), unusable[:examples])

    async def delete(self, name: str, version: str) -> bool:
        async with self._reading() as (connection, layout):
            statement = _DELETE.format(layout.table.identifier)
            try:
                return (await connection.execute(statement, (name, name, version))).rowcount > 0
            except (psycopg.IntegrityError, psycopg.errors.RaiseException) as error:
                raise KtError(
                    "conflict",
                    f"The row of {name} can't be deleted: the database refuses it ({error.sqlstate}).",
                    "Look at what refers to the row, and at the triggers of its table.",
                ) from None

    async def may_delete(self) -> bool:
        async with self._reading() as (connection, layout):
            row = await (await connection.execute(_MAY_DELETE, (layout.table.quoted,))).fetchone()
        return row is not None and bool(row[0])

    @asynccontextmanager
    async def _reading(self) -> AsyncIterator[tuple[Connection, Layout]]:
        try:
            with _answering():
                async with self._pool.connection() as connection:
                    if self._layout is None:
                        cursor = await connection.execute(INSPECT, (self._table.quoted,))
                        self._layout = layout_of(self._table, await cursor.fetchall())
                    yield connection, self._layout
        except KtError:
            self._layout = None  # the table may have been changed
            raise


class PostgresLegacyClaims:
    """Implements ``LegacyClaims`` in the key service's own database."""

    def __init__(self, pool: Pool, clock: Clock) -> None:
        self._pool = pool
        self._clock = clock

    async def claim(self, binding: Binding, row_version: str) -> None:
        values = (UUID(binding.sealed_id), binding.org, binding.name, row_version, self._clock.now())
        await self._execute(own.CLAIM_ROW, values)

    async def due(self, limit: int, after: str = "") -> Sequence[DueClaim]:
        values = (after or str(UUID(int=0)), limit)
        with answering(_DATABASE):
            async with self._pool.connection() as connection:
                rows = await (await connection.execute(own.DUE_CLAIMS, values)).fetchall()
        return [DueClaim(str(sealed_id), name, version) for sealed_id, name, version in rows]

    async def count_due(self, org: str) -> int:
        with answering(_DATABASE):
            async with self._pool.connection() as connection:
                row = await (await connection.execute(own.COUNT_DUE_CLAIMS, (org,))).fetchone()
        return row[0] if row else 0

    async def done(self, sealed_id: str) -> None:
        await self._execute(own.CLAIM_DONE, (UUID(sealed_id),))

    async def _execute(self, statement: str, values: tuple[Any, ...]) -> None:
        with answering(_DATABASE):
            async with self._pool.connection() as connection:
                await connection.execute(statement, values)


@contextmanager
def _answering() -> Iterator[None]:
    """
    Raises:
        KtError: ``unavailable``; nothing of what PostgreSQL says, which can quote rows.
    """
    try:
        yield
    except (psycopg.Error, PoolTimeout, TooManyRequests) as error:
        state = getattr(error, "sqlstate", None) or type(error).__name__
        raise KtError(
            "unavailable",
            f"The database with the older plaintext rows does not answer as it should ({state}).",
            "Look at KEEPTRUSTS_LEGACY_POSTGRES_DSN and that database, or unset it to do without those rows.",
        ) from None

"""PostgreSQL: pools and numbered migrations."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from importlib import resources
from typing import Final

import psycopg
from psycopg import AsyncConnection, sql
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool, PoolTimeout, TooManyRequests

from libs.common.errors import KtError

log = logging.getLogger(__name__)

Connection = AsyncConnection[TupleRow]
Pool = AsyncConnectionPool[Connection]

ACQUIRE_TIMEOUT_S: Final = 3.0
"""Less than who asks a service waits for its answer, so that there is one."""

START_TIMEOUT_S: Final = 30.0


@asynccontextmanager
async def open_pool(conninfo: str, schema: str, size: int = 4) -> AsyncIterator[Pool]:
    """A pool of autocommit connections whose search path is ``schema``. Waits for a server that is starting.

    Raises:
        KtError: ``unavailable`` when PostgreSQL can't be reached within 30 s.
    """
    pool: Pool = AsyncConnectionPool(
        conninfo,
        min_size=1,
        max_size=size,
        timeout=ACQUIRE_TIMEOUT_S,
        max_waiting=1000,
        reconnect_timeout=START_TIMEOUT_S,
        kwargs={"autocommit": True, "options": f"-c search_path={schema} -c statement_timeout=30s"},
        connection_class=AsyncConnection[TupleRow],
        open=False,
    )
    try:
        try:
            await pool.open(wait=True, timeout=START_TIMEOUT_S)
        except PoolTimeout:
            raise KtError("unavailable", "PostgreSQL can't be reached.", "`kt status` shows what runs.") from None
        yield pool
    finally:
        await pool.close(timeout=2)


@contextmanager
def answering(database: str) -> Iterator[None]:
    """For what talks to PostgreSQL while somebody waits for the answer. ``database`` is its name in the error.

    Raises:
        KtError: ``unavailable`` instead of what psycopg says, which can quote parameters.
    """
    try:
        yield
    except (psycopg.OperationalError, PoolTimeout, TooManyRequests):
        raise KtError(
            "unavailable", f"{database} does not answer.", "Try again; `kt status` shows what runs."
        ) from None


async def migrate(conninfo: str, schema: str, package: str) -> list[str]:
    """Apply the numbered SQL files of ``package`` that ``schema`` has not seen, in one transaction.

    Returns the names of the files applied. Several processes may call it at once; one does the work.
    """
    files = sorted(f.name for f in resources.files(package).iterdir() if f.name.endswith(".sql"))
    async with await psycopg.AsyncConnection.connect(conninfo) as connection, connection.transaction():
        await connection.execute(sql.SQL("SET LOCAL search_path TO {}").format(sql.Identifier(schema)))
        await connection.execute("SELECT pg_advisory_xact_lock(hashtext(%s))", (f"migrate/{schema}",))
        await connection.execute(
            "CREATE TABLE IF NOT EXISTS schema_migrations"
            " (name text PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT now())"
        )
        await connection.execute(
            "CREATE TABLE IF NOT EXISTS checkpoints"
            " (projection text PRIMARY KEY, sequence bigint NOT NULL, digest bytea NOT NULL)"
        )
        cursor = await connection.execute("SELECT name FROM schema_migrations")
        seen = {row[0] for row in await cursor.fetchall()}
        pending = [name for name in files if name not in seen]
        for name in pending:
            script = resources.files(package).joinpath(name).read_bytes()
            await connection.execute(script)
            await connection.execute("INSERT INTO schema_migrations (name) VALUES (%s)", (name,))
    return pending

"""Rewriting the tables that rows were deleted from, so that nothing of these rows is left in their files."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from enum import Enum
from typing import Final

import psycopg
from psycopg import errors
from psycopg import sql as query

from libs.common.errors import KtError
from libs.common.postgres import Connection, Pool, answering
from services.keys.adapters.rows import DATABASE

log = logging.getLogger(__name__)

TABLES: Final = ("keyring", "sealed_values")
EVERY_S: Final = 5.0
SHARE: Final = 50
"""The pause after a rewrite is at least this many times as long as it took."""

MAX_BYTES: Final = 32 * 1024 * 1024
"""A larger table is not rewritten on its own: nobody can read it for as long as that takes, half a second at
this size."""

LOCK_TIMEOUT: Final = "500ms"
"""Whoever wants the table waits behind who wants to rewrite it."""

_LEAD: Final = "SELECT pg_try_advisory_lock(hashtext('keys/scrub'))"
_FILE: Final = "pg_relation_filenode(%(table)s::text::regclass)"
_DUE: Final = f"""
SELECT pg_table_size(%(table)s::text::regclass)
 WHERE EXISTS (SELECT FROM scrubs_due WHERE table_name = %(table)s::text AND filenode = {_FILE})
"""  # noqa: S608 - a constant
_NOT_DONE: Final = f"INSERT INTO scrubs_due (table_name, filenode) VALUES (%(table)s::text, {_FILE})"  # noqa: S608
_DONE: Final = f"DELETE FROM scrubs_due WHERE table_name = %(table)s::text AND filenode <> {_FILE}"  # noqa: S608
_COUNT: Final = re.compile(r"\s*([0-9]+)")


class Outcome(Enum):
    NOTHING_DUE = "nothing_due"
    DONE = "done"
    IN_USE = "in_use"
    """Somebody reads the table, or may still see what was deleted; to be tried again."""

    TOO_LARGE = "too_large"
    """To be rewritten by an administrator (docs/how-to/destroy-a-secret.md)."""


class Scrubber:
    """Of several instances one works at a time."""

    def __init__(self, pool: Pool, max_bytes: int = MAX_BYTES) -> None:
        self._pool = pool
        self._max_bytes = max_bytes

    async def run(self) -> None:
        """Scrub until cancelled."""
        loop, told = asyncio.get_running_loop(), set[str]()
        pause = EVERY_S
        while True:
            await asyncio.sleep(pause)
            began = loop.time()
            try:
                for table, outcome in (await self.scrub()).items():
                    if outcome is Outcome.DONE:
                        log.info("sealed_store.scrubbed", extra={"table": table})
                    elif outcome is Outcome.TOO_LARGE and table not in told:
                        log.warning("sealed_store.scrub_is_due", extra={"table": table})
                        told.add(table)
            except KtError as error:
                log.warning("sealed_store.scrub_failed", extra={"code": error.code, "why": error.detail})
            pause = max(EVERY_S, SHARE * (loop.time() - began))

    async def scrub(self) -> dict[str, Outcome]:
        """What came of each table; nothing at all while another instance is at it.

        Raises:
            KtError: ``unavailable``.
        """
        with answering(DATABASE):
            async with self._pool.connection() as connection, _leading(connection) as leads:
                return {table: await self._table(connection, table) for table in TABLES} if leads else {}

    async def _table(self, connection: Connection, table: str) -> Outcome:
        row = await (await connection.execute(_DUE, {"table": table})).fetchone()
        if row is None:
            return Outcome.NOTHING_DUE
        if row[0] > self._max_bytes:
            return Outcome.TOO_LARGE
        try:
            left = await _rewrite(connection, table)
        except errors.LockNotAvailable:
            return Outcome.IN_USE
        if left:
            await connection.execute(_NOT_DONE, {"table": table})
        await connection.execute(_DONE, {"table": table})
        return Outcome.IN_USE if left else Outcome.DONE


async def _rewrite(connection: Connection, table: str) -> int:
    """How many deleted rows had to be taken along, because some transaction may still see them."""
    left = 0

    def told(notice: psycopg.errors.Diagnostic) -> None:
        nonlocal left
        # "… found 1 removable, 2 nonremovable row versions", detail: "0 dead row versions cannot be removed yet."
        found = _COUNT.match(notice.message_detail or "")
        left = max(left, int(found[1])) if found else left

    connection.add_notice_handler(told)
    try:
        await connection.execute(query.SQL("VACUUM (FULL, VERBOSE) {}").format(query.Identifier(table)))
    finally:
        connection.remove_notice_handler(told)
    return left


@asynccontextmanager
async def _leading(connection: Connection) -> AsyncIterator[bool]:
    row = await (await connection.execute(_LEAD)).fetchone()
    if row is None or not row[0]:
        yield False
        return
    try:
        await connection.execute(query.SQL("SET lock_timeout = {}").format(LOCK_TIMEOUT))
        yield True
    finally:
        if not connection.closed:
            await connection.execute("RESET lock_timeout")
            await connection.execute("SELECT pg_advisory_unlock_all()")

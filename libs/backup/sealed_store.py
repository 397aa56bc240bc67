"""The sealed store into an archive and back: rows as JSON lines, bytes in base64."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import astuple, dataclass
from datetime import datetime
from typing import Any, Final, Literal
from uuid import UUID

import psycopg
from psycopg import AsyncConnection, sql
from psycopg.rows import TupleRow

from libs.backup.archive import LineWriter, damaged
from libs.common.clock import rfc3339
from libs.common.errors import KtError
from libs.common.ids import derived_id

SCHEMA: Final = "keys"
PROJECTION: Final = "sealed_references"
KEYRING_COLUMNS: Final = (
    "id",
    "org",
    "purpose",
    "algorithm",
    "wrapped",
    "public",
    "master_fingerprint",
    "created_at",
    "retired_at",
)
VALUE_COLUMNS: Final = ("id", "org", "kind", "name", "key_id", "wrapped_data_key", "ciphertext", "sealed_at")

_IDS: Final = frozenset({"id", "key_id"})
_BINARY: Final = frozenset({"wrapped", "public", "wrapped_data_key", "ciphertext"})
_MOMENTS: Final = frozenset({"created_at", "retired_at", "sealed_at"})
_TABLES: Final[Mapping[str, tuple[str, ...]]] = {"keyring": KEYRING_COLUMNS, "sealed_values": VALUE_COLUMNS}
_TYPES: Final[Mapping[str, str]] = {
    **dict.fromkeys(_IDS, "uuid"),
    **dict.fromkeys(_BINARY, "bytea"),
    **dict.fromkeys(_MOMENTS, "timestamptz"),
}
_NOTICE: Final = (
    "INSERT INTO restore_notices (id, manifest_sha256, taken_at, restored_at, into_what) VALUES (%s, %s, %s, %s, %s)"
)
_CONNECT_S: Final = 10
_BATCH: Final = 500

Connection = AsyncConnection[TupleRow]


@dataclass(frozen=True, slots=True)
class SealedStore:
    """The rows as of one moment; everything read through it is of that moment."""

    connection: Connection
    as_of_sequence: int
    """Up to which event the references and deletions of ``KT_EVENTS`` are in it."""

    async def dump(self, table: str, lines: LineWriter, moved: Callable[[int], None] | None = None) -> None:
        """Write the rows of ``keyring`` or ``sealed_values``; ``moved`` is told of each."""
        columns = _TABLES[table]
        async with self.connection.cursor(f"backup_{table}", binary=True) as cursor:
            cursor.itersize = _BATCH
            await cursor.execute(_select(table, columns))
            async for row in cursor:
                lines.write(dict(zip(columns, map(_plain, row), strict=True)))
                if moved is not None:
                    moved(1)

    async def count(self, table: str) -> int:
        return await _count(self.connection, table)

    async def fingerprints(self) -> tuple[str, ...]:
        """Of the master keys that the keyring is wrapped under."""
        cursor = await self.connection.execute("SELECT DISTINCT master_fingerprint FROM keyring ORDER BY 1")
        return tuple(row[0] for row in await cursor.fetchall())


async def projected(dsn: str) -> int:
    """Up to which event the key service has followed the stream.

    Raises:
        KtError: ``unavailable``.
    """
    async with _connected(dsn) as connection:
        return await _position(connection)


@asynccontextmanager
async def reading(dsn: str) -> AsyncIterator[SealedStore]:
    """The sealed store as of now. Writers are not kept waiting.

    Raises:
        KtError: ``unavailable``.
    """
    async with _connected(dsn) as connection:
        await connection.set_isolation_level(psycopg.IsolationLevel.REPEATABLE_READ)
        await connection.set_read_only(True)
        async with connection.transaction():
            yield SealedStore(connection, await _position(connection))


@dataclass(frozen=True, slots=True)
class Restored:
    """What the key service puts on record before it answers anything. Moments are RFC 3339."""

    manifest_sha256: str
    taken_at: str
    restored_at: str
    into: Literal["home", "engines"]


async def load(dsn: str, rows: Mapping[str, Iterable[Mapping[str, Any]]], restored: Restored) -> dict[str, int]:
    """Put the rows of ``keyring`` and ``sealed_values`` into an empty sealed store, with the notice where they come
    from, all or none; how many of each.

    Raises:
        KtError: ``already_exists`` when there are rows; ``backup_damaged`` when a row is not one; ``unavailable``.
    """
    counts = {}
    async with _connected(dsn) as connection, connection.transaction():
        await connection.execute("LOCK TABLE keyring, sealed_values IN EXCLUSIVE MODE")
        for table in _TABLES:
            if await _count(connection, table):
                raise KtError(
                    "already_exists",
                    "The sealed store holds values already, and a restore never overwrites. Nothing was changed.",
                    "Restore into a new home, or into a database without the schema keys.",
                )
        for table, columns in _TABLES.items():
            await _copy(connection, table, columns, rows[table])
            counts[table] = await _count(connection, table)
        await connection.execute(_NOTICE, (derived_id("restore", *astuple(restored)), *astuple(restored)))
    return counts


async def _copy(
    connection: Connection, table: str, columns: tuple[str, ...], rows: Iterable[Mapping[str, Any]]
) -> None:
    names = sql.SQL(", ").join(map(sql.Identifier, columns))
    statement = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT BINARY)").format(sql.Identifier(table), names)
    try:
        async with connection.cursor() as cursor, cursor.copy(statement) as copy:
            copy.set_types([_TYPES.get(column, "text") for column in columns])
            for row in rows:
                await copy.write_row([_read(column, row[column]) for column in columns])
    except (KeyError, TypeError, ValueError, psycopg.DataError, psycopg.IntegrityError):
        raise damaged(f"a row of {table} can't be read") from None


@asynccontextmanager
async def _connected(dsn: str) -> AsyncIterator[Connection]:
    try:
        async with await AsyncConnection.connect(
            dsn, connect_timeout=_CONNECT_S, options=f"-c search_path={SCHEMA}"
        ) as connection:
            yield connection
    except psycopg.OperationalError:
        raise KtError(
            "unavailable",
            "The database of the sealed store does not answer, or does not let the role in.",
            "`kt status` shows what runs.",
        ) from None


async def _position(connection: Connection) -> int:
    cursor = await connection.execute("SELECT sequence FROM checkpoints WHERE projection = %s", (PROJECTION,))
    row = await cursor.fetchone()
    return int(row[0]) if row else 0


async def _count(connection: Connection, table: str) -> int:
    cursor = await connection.execute(sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(table)))
    row = await cursor.fetchone()
    return int(row[0]) if row else 0


def _select(table: str, columns: tuple[str, ...]) -> sql.Composed:
    names = sql.SQL(", ").join(map(sql.Identifier, columns))
    return sql.SQL("SELECT {} FROM {}").format(names, sql.Identifier(table))


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, datetime):
        return rfc3339(value)
    return value if value is None or isinstance(value, str) else str(value)


def _read(column: str, value: Any) -> Any:
    if column in _BINARY:
        return base64.b64decode(value, validate=True)
    if column in _MOMENTS and value is not None:
        return datetime.fromisoformat(value)
    return UUID(value) if column in _IDS else value

"""Keyring and sealed store in PostgreSQL. Reads are single statements on autocommit connections."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from uuid import UUID

from libs.common.errors import KtError
from libs.common.postgres import Pool, answering
from services.keys.adapters import sql
from services.keys.adapters.deep_rotation import DeepRotationRows
from services.keys.adapters.rows import DATABASE, entry_of, value_of
from services.keys.application.ports import KeyringTransaction, RestoreNotice, RotationNotice
from services.keys.domain.keyring import KeyringEntry, Purpose
from services.keys.domain.sealed import SealedValue


class PostgresKeyringStore:
    """Implements ``KeyringStore``. Writers exclude each other by an advisory lock of the database."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[KeyringTransaction]:
        with answering(DATABASE):
            async with self._pool.connection() as connection, connection.transaction():
                await connection.execute(sql.PREPARE_WRITING)
                await connection.execute(sql.LOCK_KEYRING)
                yield _Transaction(connection)

    async def entries(self) -> Sequence[KeyringEntry]:
        with answering(DATABASE):
            async with self._pool.connection() as connection:
                return await _Transaction(connection).entries()

    async def revision(self) -> str:
        with answering(DATABASE):
            async with self._pool.connection() as connection:
                row = await (await connection.execute(sql.REVISION)).fetchone()
                return str(row[0]) if row else ""

    async def values_under(self, key_ids: Sequence[str]) -> Mapping[str, int]:
        with answering(DATABASE):
            async with self._pool.connection() as connection:
                return await _Transaction(connection).values_under(key_ids)


class _Transaction(DeepRotationRows):
    """Implements ``KeyringTransaction``."""

    async def entries(self) -> Sequence[KeyringEntry]:
        cursor = await self._connection.execute(sql.ENTRIES, binary=True)
        return [entry_of(row) for row in await cursor.fetchall()]

    async def current(self, org: str, purpose: Purpose) -> KeyringEntry | None:
        cursor = await self._connection.execute(sql.CURRENT_ENTRY, (org, purpose.value), binary=True)
        row = await cursor.fetchone()
        return None if row is None else entry_of(row)

    async def add(self, entry: KeyringEntry) -> None:
        values = (
            UUID(entry.id),
            entry.org,
            entry.purpose,
            entry.algorithm,
            entry.wrapped,
            entry.public,
            entry.master_fingerprint,
            entry.created_at,
            entry.retired_at,
        )
        await self._connection.execute(sql.ADD_ENTRY, values)

    async def rewrap(self, entry: KeyringEntry) -> None:
        values = (entry.wrapped, entry.master_fingerprint, UUID(entry.id))
        await self._connection.execute(sql.REWRAP_ENTRY, values)

    async def retire(self, key_id: str, now: datetime) -> None:
        await self._connection.execute(sql.RETIRE_ENTRY, (now, UUID(key_id)))

    async def has_sealed_values(self) -> bool:
        row = await (await self._connection.execute(sql.HAS_SEALED_VALUES)).fetchone()
        return row is not None and bool(row[0])

    async def notice(self, notice: RotationNotice) -> None:
        values = (UUID(notice.id), notice.org, notice.from_fingerprint, notice.to_fingerprint, notice.rewrapped)
        await self._connection.execute(sql.ADD_NOTICE, values)


class PostgresRotationNotices:
    """Implements ``RotationNotices``."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def pending(self) -> Sequence[RotationNotice]:
        with answering(DATABASE):
            async with self._pool.connection() as connection:
                rows = await (await connection.execute(sql.NOTICES)).fetchall()
        return [RotationNotice(str(row[0]), *row[1:]) for row in rows]

    async def done(self, notice_id: str) -> None:
        with answering(DATABASE):
            async with self._pool.connection() as connection:
                await connection.execute(sql.NOTICE_DONE, (UUID(notice_id),))


class PostgresRestoreNotices:
    """Implements ``RestoreNotices``."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def pending_restores(self) -> Sequence[RestoreNotice]:
        with answering(DATABASE):
            async with self._pool.connection() as connection:
                rows = await (await connection.execute(sql.RESTORES)).fetchall()
        return [RestoreNotice(str(row[0]), *row[1:]) for row in rows]

    async def restore_recorded(self, notice_id: str) -> None:
        with answering(DATABASE):
            async with self._pool.connection() as connection:
                await connection.execute(sql.RESTORE_RECORDED, (UUID(notice_id),))


class PostgresSealedStore:
    """Implements ``SealedStore``."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def put(self, sealed: SealedValue, now: datetime) -> SealedValue | None:
        binding = sealed.binding
        values = {
            "id": UUID(binding.sealed_id),
            "org": binding.org,
            "kind": binding.kind,
            "name": binding.name,
            "key_id": UUID(sealed.key_id),
            "wrapped_data_key": sealed.wrapped_data_key,
            "ciphertext": sealed.ciphertext,
            "now": now,
        }
        with answering(DATABASE):
            async with self._pool.connection() as connection:
                cursor = await connection.execute(sql.PUT_VALUE, values, prepare=True, binary=True)
                row = await cursor.fetchone()
        if row is None:
            return None
        if row[0] == sealed.wrapped_data_key:
            return sealed
        stored = (await self.fetch([binding.sealed_id])).get(binding.sealed_id)
        if stored is None:
            raise KtError("conflict", "The sealed value was destroyed at this moment.", "Repeat with a new id.")
        return stored

    async def fetch(self, sealed_ids: Sequence[str]) -> Mapping[str, SealedValue]:
        # One text for all: psycopg takes longer to write an array of a hundred than PostgreSQL to read it.
        wanted = f"{{{','.join(sealed_ids)}}}"
        with answering(DATABASE):
            async with self._pool.connection() as connection:
                cursor = await connection.execute(sql.VALUES, (wanted,), prepare=True, binary=True)
                rows = await cursor.fetchall()
        return {value.binding.sealed_id: value for value in map(value_of, rows)}

    async def sweep(self, sealed_before: datetime) -> int:
        with answering(DATABASE):
            async with self._pool.connection() as connection:
                await connection.execute(sql.SWEEP_CLAIMS, (sealed_before,))
                return (await connection.execute(sql.SWEEP, (sealed_before,))).rowcount

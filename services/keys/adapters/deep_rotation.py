"""Deep rotations and damaged values in PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from libs.common.postgres import Connection, Pool, answering
from services.keys.adapters import deep_rotation_sql as sql
from services.keys.adapters.rows import DATABASE, value_of
from services.keys.application.ports import Batch, DeepRotationLead
from services.keys.domain.damage import Damage
from services.keys.domain.deep_rotation import DeepRotation, Requester
from services.keys.domain.sealed import SealedValue

_STARTED: Final = 1
_COMPLETED: Final = 2


class DeepRotationRows:
    """The part of ``KeyringTransaction`` that deep rotation takes."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def deep_rotation(self, rotation_id: str) -> DeepRotation | None:
        return await _one(self._connection, sql.ROTATION, UUID(rotation_id))

    async def running_deep_rotation(self, org: str) -> DeepRotation | None:
        return await _one(self._connection, sql.RUNNING_OF_ORG, org)

    async def begin(self, rotation: DeepRotation) -> None:
        who = rotation.requester
        values = {
            "id": UUID(rotation.id),
            "org": rotation.org,
            "new_key": UUID(rotation.new_key),
            "old_keys": _uuids(rotation.old_keys),
            "transport_key": UUID(rotation.transport_key),
            "data_keys": rotation.data_keys,
            "actor_type": who.actor_type,
            "actor_id": who.actor_id,
            "request_id": who.request_id,
            "source_ip": who.source_ip,
            "user_agent": who.user_agent,
            "started_at": rotation.started_at,
        }
        await self._connection.execute(sql.BEGIN, values)

    async def values_under(self, key_ids: Sequence[str]) -> Mapping[str, int]:
        cursor = await self._connection.execute(sql.VALUES_UNDER, (_uuids(key_ids),))
        return dict(await cursor.fetchall())

    async def is_settled(self, rotation: DeepRotation, key_ids: Sequence[str]) -> bool:
        # In this order: what a statement under way stored is only looked for once it is over.
        if await _truth(self._connection, sql.ARE_UNDER_WAY, UUID(rotation.id)):
            return False
        return not await _truth(self._connection, sql.ARE_LEFT, _uuids(key_ids))

    async def damaged_under(self, key_id: str) -> int:
        row = await (await self._connection.execute(sql.DAMAGED_UNDER, (UUID(key_id),))).fetchone()
        return int(row[0]) if row else 0

    async def destroy(self, key_id: str) -> None:
        await self._connection.execute(sql.DESTROY_ENTRY, (UUID(key_id),))

    async def complete(self, rotation: DeepRotation) -> None:
        destroyed = _uuids(rotation.destroyed_keys)
        values = (rotation.completed_at, rotation.damaged, destroyed, UUID(rotation.id))
        await self._connection.execute(sql.COMPLETE, values)


class PostgresDeepRotations:
    """Implements ``DeepRotations``. Who holds an advisory lock of the database leads; a dead session releases it."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def find(self, org: str, rotation_id: str) -> DeepRotation | None:
        with answering(DATABASE):
            async with self._pool.connection() as connection:
                found = await _one(connection, sql.ROTATION, UUID(rotation_id))
        return found if found is not None and found.org == org else None

    async def latest(self, org: str) -> DeepRotation | None:
        with answering(DATABASE):
            async with self._pool.connection() as connection:
                return await _one(connection, sql.LATEST, org)

    async def is_work_due(self, transport_before: datetime) -> bool:
        with answering(DATABASE):
            async with self._pool.connection() as connection:
                return await _truth(connection, sql.IS_WORK_DUE, transport_before)

    @asynccontextmanager
    async def leading(self) -> AsyncIterator[DeepRotationLead | None]:
        with answering(DATABASE):
            async with self._pool.connection() as connection:
                if not await _truth(connection, sql.LEAD):
                    yield None
                    return
                try:
                    # A batch that is lost in a crash is lost as a whole, and done again.
                    await connection.execute("SET synchronous_commit = off")
                    yield _Lead(connection)
                finally:
                    if not connection.closed:
                        await connection.execute("SELECT pg_advisory_unlock_all()")
                        await connection.execute("RESET synchronous_commit")

    async def unrecorded(self) -> Sequence[DeepRotation]:
        with answering(DATABASE):
            async with self._pool.connection() as connection:
                rows = await (await connection.execute(sql.UNRECORDED)).fetchall()
        return [stage for recorded, *row in rows for stage in _rotation(row).stages(recorded)]

    async def recorded(self, rotation: DeepRotation) -> None:
        stage = _STARTED if rotation.completed_at is None else _COMPLETED
        with answering(DATABASE):
            async with self._pool.connection() as connection:
                await connection.execute(sql.RECORDED, (stage, UUID(rotation.id)))


class _Lead:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def running(self) -> Sequence[DeepRotation]:
        return [_rotation(row) for row in await (await self._connection.execute(sql.RUNNING)).fetchall()]

    @asynccontextmanager
    async def batch(self, rotation_id: str, key_id: str, after: str, limit: int) -> AsyncIterator[Batch]:
        async with self._connection.transaction():
            wanted = (UUID(key_id), UUID(after), limit)
            cursor = await self._connection.execute(sql.NEXT_VALUES, wanted, prepare=True, binary=True)
            values = [value_of(row) for row in await cursor.fetchall()]
            yield _Batch(self._connection, UUID(rotation_id), values)


class _Batch:
    def __init__(self, connection: Connection, rotation_id: UUID, values: Sequence[SealedValue]) -> None:
        self._connection = connection
        self._rotation_id = rotation_id
        self.values = values

    async def save(self, moved: Sequence[SealedValue], damages: Sequence[Damage]) -> None:
        if moved:
            rows = (
                _uuids(value.binding.sealed_id for value in moved),
                _uuids(value.key_id for value in moved),
                [value.wrapped_data_key for value in moved],
            )
            await self._connection.execute(sql.MOVE, rows, prepare=True, binary=True)
            await self._connection.execute(sql.COUNT_MOVED, (len(moved), self._rotation_id), prepare=True)
        await _report(self._connection, damages)


class PostgresDamagedValues:
    """Implements ``DamagedValues``."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def report(self, damages: Sequence[Damage]) -> None:
        with answering(DATABASE):
            async with self._pool.connection() as connection:
                await _report(connection, damages)

    async def listed(self, org: str, limit: int) -> Sequence[Damage]:
        with answering(DATABASE):
            async with self._pool.connection() as connection:
                cursor = await connection.execute(sql.LISTED, (org, limit))
                return [Damage(*row) for row in await cursor.fetchall()]

    async def forget(self, sealed_ids: Sequence[str]) -> None:
        with answering(DATABASE):
            async with self._pool.connection() as connection:
                await connection.execute(sql.FORGET, (list(sealed_ids),))


async def _report(connection: Connection, damages: Sequence[Damage]) -> None:
    if damages:
        rows = [(UUID(d.sealed_id), d.org, d.kind, d.name, d.digest, d.why, d.found_at) for d in damages]
        await connection.execute(sql.REPORT, [list(column) for column in zip(*rows, strict=True)])


async def _truth(connection: Connection, statement: str, *values: object) -> bool:
    row = await (await connection.execute(statement, values)).fetchone()
    return row is not None and bool(row[0])


async def _one(connection: Connection, statement: str, *values: object) -> DeepRotation | None:
    row = await (await connection.execute(statement, values)).fetchone()
    return None if row is None else _rotation(row)


def _rotation(row: Sequence[Any]) -> DeepRotation:
    rotation_id, org, new_key, old_keys, transport_key, data_keys, *who, started, rewrapped, damaged, gone, done = row
    return DeepRotation(
        id=rotation_id,
        org=org,
        new_key=new_key,
        old_keys=tuple(old_keys),
        transport_key=transport_key,
        data_keys=data_keys,
        requester=Requester(*who),
        started_at=started,
        rewrapped=rewrapped,
        damaged=damaged,
        destroyed_keys=tuple(gone),
        completed_at=done,
    )


def _uuids(ids: Iterable[str]) -> list[UUID]:
    return [UUID(identifier) for identifier in ids]

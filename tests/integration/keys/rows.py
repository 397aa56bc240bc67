"""Changing rows of the key service behind its back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from psycopg import sql

from libs.common.postgres import Pool
from services.keys.adapters.deep_rotation import PostgresDamagedValues, PostgresDeepRotations
from services.keys.adapters.postgres import PostgresKeyringStore, PostgresSealedStore
from services.keys.domain.sealed import Binding
from tests.unit.keys.support import Stores


def stores_on(pool: Pool) -> Stores:
    return Stores(
        PostgresKeyringStore(pool),
        PostgresSealedStore(pool),
        Rows(pool),
        PostgresDeepRotations(pool),
        PostgresDamagedValues(pool),
    )


@dataclass(frozen=True)
class Rows:
    """Implements ``Tamper`` with plain SQL."""

    pool: Pool

    async def entry(self, key_id: str, **columns: Any) -> None:
        await self._update("keyring", key_id, columns)

    async def value(self, sealed_id: str, **columns: Any) -> None:
        await self._update("sealed_values", sealed_id, columns)

    async def drop_entries(self) -> None:
        async with self.pool.connection() as connection:
            await connection.execute("DELETE FROM keyring")

    async def drop_value(self, sealed_id: str) -> None:
        async with self.pool.connection() as connection:
            await connection.execute("DELETE FROM sealed_values WHERE id = %s", (sealed_id,))

    async def refer(self, binding: Binding, sequence: int) -> None:
        async with self.pool.connection() as connection:
            await connection.execute(
                "INSERT INTO sealed_references (sealed_id, org, kind, name, sequence) VALUES (%s, %s, %s, %s, %s)",
                (binding.sealed_id, binding.org, binding.kind, binding.name, sequence),
            )

    async def _update(self, table: str, row_id: str, columns: dict[str, Any]) -> None:
        assignments = sql.SQL(", ").join(sql.SQL("{} = %s").format(sql.Identifier(name)) for name in columns)
        statement = sql.SQL("UPDATE {} SET {} WHERE id = %s").format(sql.Identifier(table), assignments)
        async with self.pool.connection() as connection:
            await connection.execute(statement, [*columns.values(), row_id])

"""The key service's stores on PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from libs.common.postgres import Pool, open_pool
from services.keys.adapters.postgres import PostgresKeyringStore, PostgresSealedStore
from tests.engines import Database
from tests.integration.keys.rows import Rows
from tests.unit.keys.support import Stores


@pytest.fixture
async def pool(postgres: Database) -> AsyncIterator[Pool]:
    async with open_pool(postgres.dsn("keys"), "keys", 8) as opened:
        yield opened


@pytest.fixture
def stores(pool: Pool) -> Stores:
    return Stores(PostgresKeyringStore(pool), PostgresSealedStore(pool), Rows(pool))

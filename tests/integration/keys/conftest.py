"""The key service's stores on PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from libs.common.postgres import Pool, open_pool
from tests.engines import Database
from tests.integration.keys.rows import stores_on
from tests.unit.keys.support import Stores


@pytest.fixture
async def pool(postgres: Database) -> AsyncIterator[Pool]:
    async with open_pool(postgres.dsn("keys"), "keys", 8) as opened:
        yield opened


@pytest.fixture
def stores(pool: Pool) -> Stores:
    return stores_on(pool)

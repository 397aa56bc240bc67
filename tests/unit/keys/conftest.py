"""The specifications of the key service run on stores in memory here, and on PostgreSQL in the integration tests."""

from __future__ import annotations

import pytest

from tests.unit.keys.support import Memory, Stores


@pytest.fixture
def stores() -> Stores:
    return Memory().stores()

"""The specifications of the key service run on stores in memory here, and on PostgreSQL in the integration tests."""

from __future__ import annotations

import pytest
from hypothesis import settings

from tests.unit.keys.support import Memory, Stores

# A busy machine makes a property slow, not false.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")


@pytest.fixture
def stores() -> Stores:
    return Memory().stores()

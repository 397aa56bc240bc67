"""The stand-in for the event store keeps its specification."""

from __future__ import annotations

import pytest

from tests.unit.common.event_store_spec import AnEventStore
from tests.unit.common.stores import MemoryStore


class TestMemoryStore(AnEventStore):
    @pytest.fixture
    def store(self) -> MemoryStore:
        return MemoryStore()

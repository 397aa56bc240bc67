from __future__ import annotations

import pytest

from tests.unit.api.system import System


@pytest.fixture
def system() -> System:
    """A door whose other side answers as a healthy system would."""
    return System()

"""The parts of the gateway without Envoy and without a bus."""

from __future__ import annotations

import pytest


def pytest_configure(config: pytest.Config) -> None:
    # The generated Envoy messages use a spelling of pydantic's that is on its way out.
    config.addinivalue_line("filterwarnings", "ignore:Using `@model_validator`:DeprecationWarning")

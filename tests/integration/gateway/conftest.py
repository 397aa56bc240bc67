"""The real agent and the real Envoy, a provider on loopback, a system in memory."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest


def pytest_configure(config: pytest.Config) -> None:
    # The generated Envoy messages use a spelling of pydantic's that is on its way out.
    config.addinivalue_line("filterwarnings", "ignore:Using `@model_validator`:DeprecationWarning")


@pytest.fixture(autouse=True)
def own_temporary_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The runtime directory of the gateway under test, where a test finds Envoy's admin socket."""
    directory = tmp_path / "tmp"
    directory.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(directory))

"""The real agent and the real Envoy, a provider on loopback, a system in memory."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


def pytest_configure(config: pytest.Config) -> None:
    # The generated Envoy messages use a spelling of pydantic's that is on its way out.
    config.addinivalue_line("filterwarnings", "ignore:Using `@model_validator`:DeprecationWarning")


@pytest.fixture(autouse=True)
def own_temporary_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where a test finds Envoy's admin socket. Not below ``tmp_path``: the path of a socket has to be short.

    ``tmp_path`` is asked for so that its own parent is not made in here.
    """
    with tempfile.TemporaryDirectory(prefix="kt-test-", dir="/tmp") as directory:
        monkeypatch.setattr(tempfile, "tempdir", directory)
        yield Path(directory)

"""A whole system, started as a user would."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from demo.stage import Answer, Stage, call


@dataclass
class System:
    """A running system and how to talk to it."""

    stage: Stage
    api: str
    token: str

    def http(self, method: str, path: str, body: object = None, **headers: str) -> Answer:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return call(method, self.api + path, self.token, body, named)

    def create(self, name: str, value: str, **fields: Any) -> Answer:
        return self.http("POST", "/v1/config-variables", {"name": name, "value": value, **fields})

    def kt(self, *words: str, stdin: str | None = None, code: int = 0) -> str:
        return self.stage.kt(*words, stdin=stdin, code=code)


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    yield from running(tmp_path_factory.mktemp("system"))


@pytest.fixture
def own_system(tmp_path: Path) -> Iterator[System]:
    """A system that the test may break."""
    yield from running(tmp_path)


def running(folder: Path, **settings: str) -> Iterator[System]:
    stage = Stage(folder / "home", settings)
    try:
        url = stage.start("up", until="ready ").split()[1]
        yield System(stage, url, (stage.home / "admin.token").read_text().strip())
    finally:
        stage.close()

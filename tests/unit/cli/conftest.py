"""``kt`` run in this process, beside a home that knows a fake API."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from libs.cli.main import main
from tests.unit.cli.fake_api import FakeApi

TOKEN = "admin-token-that-must-not-be-shown"


@dataclass(frozen=True)
class Ended:
    """How a command line ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def problem(self) -> Any:
        return json.loads(self.err)


Kt = Callable[..., Ended]


@pytest.fixture
def api() -> Iterator[FakeApi]:
    fake = FakeApi()
    yield fake
    fake.close()


@pytest.fixture
def home(tmp_path: Path, api: FakeApi, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The home ``.keeptrusts`` of the current directory, with nothing of the outer environment."""
    for name in [name for name in os.environ if name.startswith("KEEPTRUSTS_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    path = tmp_path / ".keeptrusts"
    path.mkdir(mode=0o700)
    (path / "state.json").write_text(json.dumps({"api_url": api.url}))
    (path / "admin.token").write_text(f"{TOKEN}\n")
    return path


@pytest.fixture
def kt(home: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Kt:
    """``kt("vars", "list", stdin=b"…")``; stdin is a pipe."""

    def run(*words: str, stdin: bytes = b"") -> Ended:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        capfd.readouterr()
        code = main(words)
        captured = capfd.readouterr()
        return Ended(int(code), captured.out, captured.err)

    return run

"""An export of many files while the audit service and `kt` itself are killed: in the end it is whole."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.projector import publish
from libs.common.messaging.bulk import BulkClient
from libs.common.messaging.identities import read_credentials
from libs.engines import control
from libs.engines.home import Home
from tests.e2e.conftest import System

ROWS = 400_000
WAIT_S = 120.0


@pytest.mark.chaos
def test_an_export_survives_its_processes(own_system: System, tmp_path: Path) -> None:
    system, home = own_system, Home(own_system.stage.home)
    asyncio.run(_fill(home))
    _until(lambda: system.http("GET", "/v1/events/checkpoint?stream=KT_ACCESS").body.get("size", 0) >= ROWS)
    keys, directory = tmp_path / "keys.txt", tmp_path / "x"
    keys.write_text(system.kt("events", "keys"))

    running = _export(system, directory)
    _until(lambda: _files(directory) >= 1)
    os.kill(next(p.pid for p in control.status(home).processes if p.name == "audit"), signal.SIGKILL)
    _until(lambda: _files(directory) >= 3)
    running.kill()
    running.communicate()
    assert not (directory / "manifest.json").exists()

    _, errors = _export(system, directory).communicate(timeout=WAIT_S)

    assert b"Going on" in errors
    told = system.kt("events", "verify", str(directory), "--key", str(keys))
    assert "as it was signed, complete" in told
    assert not [path for path in directory.iterdir() if path.name.startswith(".") or path.suffix == ".partial"]


async def _fill(home: Home) -> None:
    client = BulkClient()
    identity = read_credentials(home.identities / "resolver.creds")
    await client.connect(home.state().nats_url, **identity.connect_options())
    try:
        await publish(client, ROWS)
    finally:
        await client.close()


def _export(system: System, directory: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "libs.cli.main", "events", "export", "--out", str(directory)],
        env=system.stage.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def _files(directory: Path) -> int:
    return len(list(directory.glob("KT_*.zst")))


def _until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)

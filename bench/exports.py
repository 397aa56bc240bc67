"""How fast the audit log is exported with its manifest, in how much memory, and how fast an export is verified.

The log gets 200,000 resolutions first. Both figures are those of `kt` as a user runs it, its own start included.
"""

from __future__ import annotations

import asyncio
import hashlib
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import zstandard

from bench.projector import publish
from bench.record import Bound, Record, alternating
from bench.system import System, progress
from libs.common.messaging.bulk import BulkClient
from libs.common.messaging.identities import read_credentials
from libs.common.transparency.manifest import MANIFEST, Manifest
from libs.engines import control

ROWS = 200_000
EXPORT = Bound(50_000, "value", "at least")
VERIFY = Bound(150_000, "value", "at least")
RESIDENT_MB = 200.0
_MB = 1_000_000
_WAIT_S = 180.0


def measure_export(system: System, rounds: int = 3) -> Record:
    progress("export")
    _fill(system)
    rows, most = 0, {"audit": 0.0, "api": 0.0, "kt": 0.0}

    def export() -> float:
        nonlocal rows
        directory = _directory(system)
        shutil.rmtree(directory, ignore_errors=True)
        with _resident(system, most) as watch:
            began = time.perf_counter()
            watch(_kt(system, "events", "export", "--out", str(directory)))
            took = time.perf_counter() - began
        rows = _rows(directory)
        return rows / took

    measured = [(export(), _compressed(_directory(system))) for _ in range(rounds)]
    remark = ", ".join(f"{name} {peak:.0f} MB" for name, peak in most.items())
    flaw = "" if max(most.values()) <= RESIDENT_MB else f"more than {RESIDENT_MB:.0f} MB resident"
    return Record.of_rounds("export", "rows/s", EXPORT, measured, remark=f"{rows:,} rows; {remark}", flaw=flaw)


def measure_verify(system: System, rounds: int = 3) -> Record:
    progress("offline_verify")
    directory, keys = _directory(system), system.stage.home.parent / "keys.txt"
    if not directory.exists():
        _fill(system)
        _wait(_kt(system, "events", "export", "--out", str(directory)))
    keys.write_text(system.stage.kt("events", "keys"))
    rows = _rows(directory)

    def verify() -> float:
        began = time.perf_counter()
        _wait(_kt(system, "events", "verify", str(directory), "--key", str(keys)))
        return rows / (time.perf_counter() - began)

    def unpack() -> float:
        began = time.perf_counter()
        for path in directory.glob("*.zst"):
            hashlib.sha256(path.read_bytes()).digest()
            unpacked(path)
        return rows / (time.perf_counter() - began)

    return Record.of_rounds("offline_verify", "events/s", VERIFY, alternating(rounds, verify, unpack))


def _fill(system: System) -> None:
    asyncio.run(_publish(system))
    deadline = time.monotonic() + _WAIT_S
    while system.ask("GET", "/v1/events/checkpoint?stream=KT_ACCESS&covering=0")["size"] < ROWS:
        if time.monotonic() > deadline:
            raise RuntimeError("the log did not catch up")
        time.sleep(0.2)


async def _publish(system: System) -> None:
    client = BulkClient()
    await client.connect(
        system.nats_url, **read_credentials(system.home.identities / "resolver.creds").connect_options()
    )
    try:
        await publish(client, ROWS)
    finally:
        await client.close()


def _compressed(directory: Path) -> float:
    """Rows a second when their lines are compressed, and nothing else is done."""
    contents = [unpacked(path) for path in directory.glob("*.zst")]
    began = time.perf_counter()
    for content in contents:
        zstandard.ZstdCompressor(3).compress(content)
    return _rows(directory) / (time.perf_counter() - began)


def unpacked(path: Path) -> bytes:
    return zstandard.ZstdDecompressor().decompressobj().decompress(path.read_bytes())


def _kt(system: System, *words: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "libs.cli.main", *words],
        env=system.stage.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def _wait(process: subprocess.Popen[bytes]) -> None:
    _, errors = process.communicate(timeout=_WAIT_S)
    if process.returncode:
        raise RuntimeError(errors.decode())


@contextmanager
def _resident(system: System, most: dict[str, float]) -> Iterator[Any]:
    """Waits for a process, and meanwhile looks at the memory of those that export."""
    watched = {p.name: psutil.Process(p.pid) for p in control.status(system.home).processes if p.name in most}
    over = threading.Event()

    def look() -> None:
        while not over.wait(0.02):
            for name, process in watched.items():
                try:
                    most[name] = max(most[name], process.memory_info().rss / _MB)
                except psutil.NoSuchProcess:
                    continue

    def wait(process: subprocess.Popen[bytes]) -> None:
        watched["kt"] = psutil.Process(process.pid)
        _wait(process)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield wait
    finally:
        over.set()
        thread.join()


def _directory(system: System) -> Path:
    return system.stage.home.parent / "bench-export"


def _rows(directory: Path) -> int:
    return sum(log.rows for log in Manifest.parse((directory / MANIFEST).read_bytes()).logs)

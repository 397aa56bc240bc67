"""The second start of `kt up`, beside the start of its two engines alone in the same home."""

from __future__ import annotations

import asyncio
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from bench.record import Bound, Record, alternating
from bench.system import progress
from demo.stage import Stage
from libs.engines.home import Home
from libs.engines.identities import ensure_identities
from libs.engines.nats_server import NatsServer
from libs.engines.postgres_server import PostgresServer

BOUND = Bound(6.0, "value", "at most")


def measure(rounds: int = 3) -> Record:
    with tempfile.TemporaryDirectory(prefix="kt-bench-") as folder:
        home = Path(folder) / "home"
        progress("second_start: first start")
        _up(home)
        measured = alternating(rounds, lambda: _up(home), lambda: asyncio.run(_engines(Home(home))))
    return Record.of_rounds("second_start", "s", BOUND, measured)


def _up(home: Path) -> float:
    """Seconds from the command to its `ready` line."""
    progress("second_start: kt up")
    stage = Stage(home)
    began = time.perf_counter()
    try:
        stage.start("up", until="ready ")
        return time.perf_counter() - began
    finally:
        stage.close()


async def _engines(home: Home) -> float:
    progress("second_start: engines alone")
    identities = ensure_identities(home.identities, datetime.now(UTC))
    nats = NatsServer(home.nats, home.log("nats"), identities)
    postgres = PostgresServer(home.postgres, home.log("postgres"))
    began = time.perf_counter()
    processes = await asyncio.gather(nats.start(), postgres.start())
    took = time.perf_counter() - began
    await asyncio.gather(*(process.stop() for process in processes))
    return took

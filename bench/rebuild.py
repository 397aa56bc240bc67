"""Events a second through a rebuild of the audit log, from the first message to the exchanged tables.

The reference is the projector that fills the live log from the same stream.
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
import time
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import uvloop

from bench.projector import Engines, engines, publish
from bench.record import Bound, Record
from bench.system import progress
from libs.common.clock import SystemClock
from libs.common.postgres import Pool
from libs.common.projection import ProjectionRunner
from libs.common.subjects import ACCESS
from services.audit.adapters.fresh_log import PostgresFreshLog
from services.audit.adapters.rebuilds import PostgresRebuilds
from services.audit.adapters.signed_checkpoints import PostgresCheckpoints
from services.audit.adapters.tree import stored_root, stored_size
from services.audit.application.rebuilding import Rebuilding
from services.audit.domain.checkpoint import SignedCheckpoint
from services.audit.domain.rebuild import Phase, Rebuild, RebuiltTree
from services.audit.domain.streams import STREAM_NUMBERS
from services.audit.main import runner_of

BOUND = Bound(12_000, "value", "at least")
EVENTS = 200_000
ROUNDS = 3


class _NoRecord:
    async def record(self, rebuild: Rebuild, trees: Sequence[RebuiltTree]) -> None:
        pass


async def _nothing(_pool: Pool) -> None:
    pass


def measure(events: int = EVENTS, rounds: int = ROUNDS) -> Record:
    with tempfile.TemporaryDirectory(prefix="kt-bench-") as directory:
        return uvloop.run(_measure(Path(directory), events, rounds))


async def _measure(directory: Path, events: int, rounds: int) -> Record:
    async with engines(directory) as there:
        progress(f"rebuild: recording {events:,} events")
        await publish(there.recorder, events)
        reference = events / await _project(there, events)
        await _sign(there)
        measured = []
        for number in range(rounds):
            progress(f"rebuild: round {number + 1} of {rounds}")
            measured.append((events / await _rebuild(there), reference))
    remark = f"{events:,} events; with the signed root reproduced, indexes made and tables exchanged"
    return Record.of_rounds("rebuild", "events/s", BOUND, measured, remark=remark)


async def _project(there: Engines, events: int) -> float:
    began = time.perf_counter()
    running = asyncio.create_task(runner_of(there.bus, there.pool, ACCESS).run())
    try:
        while True:
            async with there.pool.connection() as connection:
                if await stored_size(connection, STREAM_NUMBERS[ACCESS]) == events:
                    return time.perf_counter() - began
            if running.done():
                running.result()
            await asyncio.sleep(0.02)
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running


async def _sign(there: Engines) -> None:
    number = STREAM_NUMBERS[ACCESS]
    async with there.pool.connection() as connection:
        size = await stored_size(connection, number)
        root = await stored_root(connection, number, size) or b""
    signed = SignedCheckpoint(ACCESS, size, root, str(uuid.uuid4()), "", datetime.now(UTC))
    await PostgresCheckpoints(there.pool).add(signed)


async def _rebuild(there: Engines) -> float:
    def runner(fresh: Pool, stream: str, name: str) -> ProjectionRunner:
        return runner_of(there.bus, fresh, stream, name)

    rebuilds = PostgresRebuilds(there.pool)
    fresh = PostgresFreshLog(there.conninfo, there.pool, there.bus, runner, _nothing)
    rebuilding = Rebuilding(rebuilds, fresh, PostgresCheckpoints(there.pool), _NoRecord(), SystemClock())
    await rebuilds.add(Rebuild(str(uuid.uuid4()), "default", "bench/bench", datetime.now(UTC)))
    began = time.perf_counter()
    running = asyncio.create_task(rebuilding.run())
    try:
        while True:
            newest = await rebuilds.newest()
            if newest is not None and newest.ended_at is not None:
                if newest.phase is not Phase.COMPLETED:
                    raise RuntimeError(newest.detail)
                return time.perf_counter() - began
            await asyncio.sleep(0.02)
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running


if __name__ == "__main__":
    print(measure().as_document())

"""Events a second through the audit projector, against raw COPY of the same rows into a table of the same shape.

Both use one server: fsync on, all indexes, binary format. The reference has every row encoded beforehand and sends
them as one COPY; the projector receives, checks, parses, encodes and commits with its checkpoint, batch by batch.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import statistics
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import uvloop
from nats.aio.client import Client

from libs.common.access_log import AccessLog
from libs.common.events import Actor, Metadata, Origin, Resource, encode
from libs.common.events.config_variable import ConfigVariableResolved
from libs.common.ids import Uuid7Factory
from libs.common.messaging.bulk import BulkClient
from libs.common.messaging.identities import read_credentials
from libs.common.postgres import Pool, open_pool
from libs.common.projection import ProjectionRunner
from libs.common.subjects import ACCESS, ALL_ACCESS, access_subject
from libs.engines.identities import ensure_identities
from libs.engines.nats_server import NatsServer
from libs.engines.permissions import PROVISIONER
from libs.engines.postgres_server import PostgresServer
from libs.engines.provision import provision
from services.audit.adapters.entries_projection import COLUMNS, TABLE, TYPES, EntriesProjection

NAME = "projector_events_per_second"
BOUND = 0.5
EVENTS = 20_000
ROUNDS = 3
_ROWS = ", ".join(COLUMNS)


def measure(events: int = EVENTS, rounds: int = ROUNDS) -> dict[str, Any]:
    """One figure: ``name, value, unit, reference, ratio, bound, holds``. Medians of rounds taken in turns."""
    with tempfile.TemporaryDirectory(prefix="kt-bench-") as directory:
        return uvloop.run(_measure(Path(directory), events, rounds))


@dataclass(frozen=True, slots=True)
class _Bench:
    audit: Client
    admin: psycopg.AsyncConnection[Any]
    pool: Pool


async def _measure(directory: Path, events: int, rounds: int) -> dict[str, Any]:
    async with _engines(directory) as bench:
        await _publish(bench.audit, events)
        await _project(bench, events)
        rows = await _encoded_rows(bench.admin)
        projector, reference = [], []
        for _ in range(rounds):
            reference.append(events / await _copy(bench.admin, rows))
            projector.append(events / await _project(bench, events))
    value, raw = statistics.median(projector), statistics.median(reference)
    return {
        "name": NAME,
        "value": round(value),
        "unit": "events/s",
        "reference": round(raw),
        "ratio": round(value / raw, 3),
        "bound": BOUND,
        "holds": value / raw >= BOUND,
    }


@contextlib.asynccontextmanager
async def _engines(directory: Path) -> AsyncIterator[_Bench]:
    identities = ensure_identities(directory / "identities", datetime.now(UTC))
    bus = NatsServer(directory / "nats", directory / "nats.log", identities)
    database = PostgresServer(directory / "postgres", directory / "postgres.log")
    async with contextlib.AsyncExitStack() as stack:
        for server in (bus, database):
            process = await server.start()
            stack.push_async_callback(process.stop)
        provisioner = read_credentials(identities.creds(PROVISIONER))
        dsns = await provision(
            nats_url=bus.url,
            provisioner=provisioner,
            postgres_admin_dsn=database.conninfo(),
            passwords=directory / "passwords",
        )
        audit = read_credentials(identities.creds("audit"))
        admin = await stack.enter_async_context(
            await psycopg.AsyncConnection.connect(
                psycopg.conninfo.make_conninfo(dsns["audit"], user="postgres", password=database.superuser_password.reveal().decode()),
                autocommit=True,
                options="-c search_path=audit",
            )
        )
        await admin.execute(f"CREATE TABLE reference (LIKE {TABLE} INCLUDING ALL) PARTITION BY RANGE (recorded_at)")
        await admin.execute("CREATE TABLE reference_all PARTITION OF reference DEFAULT")
        client = BulkClient()
        await client.connect(bus.url, **audit.connect_options())
        stack.push_async_callback(client.close)
        pool = await stack.enter_async_context(open_pool(dsns["audit"], "audit"))
        yield _Bench(client, admin, pool)


async def _publish(nc: Client, events: int) -> None:
    """Resolutions by 20 gateways of 50 variables, as the resolver records them."""
    ids, log = Uuid7Factory(), AccessLog(nc)
    for start in range(0, events, 500):
        messages = []
        for number in range(start, start + 500):
            name = f"PROVIDER_{number % 50}_API_KEY"
            metadata = Metadata(
                id=ids.new(),
                time="2026-11-23T07:39:03.192164Z",
                org="default",
                source="keeptrusts/resolver",
                actor=Actor("gateway", f"edge-{number % 20}"),
                origin=Origin(ids.new()),
            )
            _, body = encode(ConfigVariableResolved(3, "rotation"), Resource("config_variable", name, 3), metadata)
            messages.append((access_subject("default", "config_variable", name), body))
        await log.record(messages)


async def _encoded_rows(admin: psycopg.AsyncConnection[Any]) -> list[bytes]:
    async with admin.cursor() as cursor, cursor.copy(f"COPY (SELECT {_ROWS} FROM {TABLE} ORDER BY sequence) TO STDOUT (FORMAT BINARY)") as copy:
        return [bytes(block) async for block in copy]


async def _copy(admin: psycopg.AsyncConnection[Any], rows: list[bytes]) -> float:
    await admin.execute("TRUNCATE reference")
    await admin.execute("CHECKPOINT")
    blocks = [b"".join(rows[at : at + 64]) for at in range(0, len(rows), 64)]
    began = time.perf_counter()
    async with admin.cursor() as cursor, cursor.copy(f"COPY reference ({_ROWS}) FROM STDIN (FORMAT BINARY)") as copy:
        for block in blocks:
            await copy.write(block)
    return time.perf_counter() - began


async def _project(bench: _Bench, events: int) -> float:
    await bench.admin.execute(f"TRUNCATE {TABLE}")
    await bench.admin.execute("DELETE FROM checkpoints")
    await bench.admin.execute("CHECKPOINT")
    runner = ProjectionRunner(bench.audit, bench.pool, EntriesProjection(ACCESS, ALL_ACCESS))
    began = time.perf_counter()
    running = asyncio.create_task(runner.run())
    try:
        if not await runner.wait_for(events, 30):
            raise TimeoutError("the projector did not reach the end of the stream within 30 s")
        return time.perf_counter() - began
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running


if __name__ == "__main__":
    print(json.dumps(measure()))

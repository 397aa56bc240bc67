"""Events a second through the audit projector, beside raw COPY of the same rows into a table of the same shape.

Both write to one server with fsync and all indexes, in binary format. The reference has every row encoded beforehand
and sends all of them as one COPY; the projector receives, checks, parses, encodes and commits with its checkpoint.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import uvloop
from psycopg import sql
from psycopg.conninfo import make_conninfo

from libs.common.access_log import AccessLog
from libs.common.events import Actor, Metadata, Origin, Resource, encode
from libs.common.events.config_variable import ConfigVariableResolved
from libs.common.ids import Uuid7Factory
from libs.common.messaging.bulk import BulkClient
from libs.common.messaging.identities import read_credentials
from libs.common.postgres import Pool, open_pool
from libs.common.subjects import ACCESS, access_subject
from libs.engines.database import DATABASE
from libs.engines.identities import ensure_identities
from libs.engines.nats_server import NatsServer
from libs.engines.permissions import PROVISIONER
from libs.engines.postgres_server import PostgresServer
from libs.engines.provision import provision
from services.audit.adapters.entries_projection import COLUMNS, TABLE
from services.audit.main import runner_of

NAME = "projector"
BOUND = 0.6
EVENTS = 30_000
ROUNDS = 7
_LOG_BATCH = 500
_BLOCK_BYTES = 64 * 1024
_ROWS = sql.SQL(", ").join(map(sql.Identifier, COLUMNS))
_OUT = sql.SQL("COPY (SELECT {} FROM {} ORDER BY sequence) TO STDOUT (FORMAT BINARY)").format(
    _ROWS, sql.Identifier(TABLE)
)
_IN = sql.SQL("COPY reference ({}) FROM STDIN (FORMAT BINARY)").format(_ROWS)


def measure(events: int = EVENTS, rounds: int = ROUNDS) -> dict[str, Any]:
    """``name, value, unit, reference, ratio, bound, holds``: medians of rounds that measure both."""
    with tempfile.TemporaryDirectory(prefix="kt-bench-") as directory:
        return uvloop.run(_measure(Path(directory), events, rounds))


@dataclass(frozen=True, slots=True)
class Engines:
    recorder: BulkClient
    bus: BulkClient
    admin: psycopg.AsyncConnection[Any]
    pool: Pool
    conninfo: str


async def _measure(directory: Path, events: int, rounds: int) -> dict[str, Any]:
    async with engines(directory) as there:
        await publish(there.recorder, events)
        await _project(there, events)
        blocks = await _encoded_rows(there.admin)
        pairs = [(events / await _project(there, events), events / await _copy(there.admin, blocks))]
        for _ in range(1, rounds):
            reference = events / await _copy(there.admin, blocks)
            pairs.append((events / await _project(there, events), reference))
    ratio = statistics.median(value / reference for value, reference in pairs)
    return {
        "name": NAME,
        "value": round(statistics.median(value for value, _ in pairs)),
        "unit": "events/s",
        "reference": round(statistics.median(reference for _, reference in pairs)),
        "ratio": round(ratio, 3),
        "bound": BOUND,
        "holds": ratio >= BOUND,
    }


@asynccontextmanager
async def engines(directory: Path) -> AsyncIterator[Engines]:
    """NATS and PostgreSQL, provisioned, and what talks to them."""
    identities = ensure_identities(directory / "identities", datetime.now(UTC))
    bus = NatsServer(directory / "nats", directory / "nats.log", identities)
    database = PostgresServer(directory / "postgres", directory / "postgres.log")
    async with contextlib.AsyncExitStack() as stack:
        for server in (bus, database):
            process = await server.start()
            stack.push_async_callback(process.stop)
        dsns = await provision(
            nats_url=bus.url,
            provisioner=read_credentials(identities.creds(PROVISIONER)),
            postgres_admin_dsn=database.conninfo(),
            passwords=directory / "passwords",
        )
        admin = await psycopg.AsyncConnection.connect(
            make_conninfo(database.conninfo(database=DATABASE), options="-c search_path=audit"), autocommit=True
        )
        await stack.enter_async_context(admin)
        await _make_reference(admin)
        recorder, audit = BulkClient(), BulkClient()
        for client, name in ((recorder, "resolver"), (audit, "audit")):
            await client.connect(bus.url, **read_credentials(identities.creds(name)).connect_options())
            stack.push_async_callback(client.close)
        pool = await stack.enter_async_context(open_pool(dsns["audit"], "audit"))
        yield Engines(recorder, audit, admin, pool, dsns["audit"])


async def _make_reference(admin: psycopg.AsyncConnection[Any]) -> None:
    table = sql.Identifier(TABLE)
    await admin.execute(
        sql.SQL("CREATE TABLE reference (LIKE {} INCLUDING ALL) PARTITION BY RANGE (recorded_at)").format(table)
    )
    await admin.execute("CREATE TABLE reference_all PARTITION OF reference DEFAULT")


async def publish(bus: BulkClient, events: int) -> None:
    """Resolutions of 50 variables by 20 gateways, recorded as the resolver records them."""
    ids, log = Uuid7Factory(), AccessLog(bus)
    for start in range(0, events, _LOG_BATCH):
        await log.record([_resolution(ids, number) for number in range(start, start + _LOG_BATCH)])


def _resolution(ids: Uuid7Factory, number: int) -> tuple[str, bytes]:
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
    return access_subject("default", "config_variable", name), body


async def _encoded_rows(admin: psycopg.AsyncConnection[Any]) -> list[bytes]:
    async with admin.cursor() as cursor, cursor.copy(_OUT) as copy:
        rows = b"".join([bytes(row) async for row in copy])
    return [rows[start : start + _BLOCK_BYTES] for start in range(0, len(rows), _BLOCK_BYTES)]


async def _copy(admin: psycopg.AsyncConnection[Any], blocks: Sequence[bytes]) -> float:
    await admin.execute("TRUNCATE reference")
    await admin.execute("CHECKPOINT")
    began = time.perf_counter()
    async with admin.cursor() as cursor, cursor.copy(_IN) as copy:
        for block in blocks:
            await copy.write(block)
    return time.perf_counter() - began


async def _project(engines: Engines, events: int) -> float:
    await engines.admin.execute(sql.SQL("TRUNCATE {}, checkpoints, tiles").format(sql.Identifier(TABLE)))
    await engines.admin.execute("CHECKPOINT")
    runner = runner_of(engines.bus, engines.pool, ACCESS)
    began = time.perf_counter()
    running = asyncio.create_task(runner.run())
    reached = asyncio.create_task(runner.wait_for(events, 30))
    try:
        await asyncio.wait((running, reached), return_when=asyncio.FIRST_COMPLETED)
        took = time.perf_counter() - began
        if not reached.done() or not reached.result():
            raise RuntimeError("the projector did not reach the end of the stream within 30 s")
    finally:
        for task in (running, reached):
            task.cancel()
        await asyncio.gather(running, reached, return_exceptions=True)
    return took


if __name__ == "__main__":
    print(json.dumps(measure()))

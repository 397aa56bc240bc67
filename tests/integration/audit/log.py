"""A log to test with: messages on the streams, the projectors, what came of it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import orjson
from nats.aio.client import Client

from libs.common.access_log import AccessLog
from libs.common.direct_get import DirectReader
from libs.common.event_store import EventStore
from libs.common.events import Actor, Metadata, Origin, Resource, encode
from libs.common.events.config_variable import ConfigVariableResolved, ConfigVariableUpdated
from libs.common.messaging.bulk import BulkClient, bulk_connection
from libs.common.messaging.connection import ConnectionGuard
from libs.common.postgres import Pool, open_pool
from libs.common.projection import ProjectionRunner
from libs.common.subjects import ACCESS, ALL_ACCESS, ALL_EVENTS, EVENTS, access_subject, event_subject
from services.audit.adapters.entries_projection import EntriesProjection
from services.audit.adapters.tree import StreamTree
from tests.engines import Bus, Database

SUBJECTS = {EVENTS: ALL_EVENTS, ACCESS: ALL_ACCESS}
WAIT_S = 20.0


@dataclass(slots=True)
class Log:
    """``nc`` may append events, ``access`` record accesses; the runners read with ``bulk``, as the service does."""

    nc: Client
    access: Client
    bulk: BulkClient
    pool: Pool
    numbers: Any = field(default_factory=count)

    def runner(self, stream: str, batch: int = 4000) -> ProjectionRunner:
        tree = self.tree(stream)
        projection = EntriesProjection(stream, SUBJECTS[stream], tree)
        return ProjectionRunner(self.bulk, self.pool, projection, batch=batch, account=tree)

    def tree(self, stream: str) -> StreamTree:
        return StreamTree(stream, DirectReader(self.bulk, stream).at)

    async def append(self, name: str, *, org: str = "acme", actor: str = "alice", times: int = 1) -> int:
        """Changes of one variable on KT_EVENTS; the last sequence."""
        subject, store, sequence = event_subject(org, "config_variable", name), EventStore(self.nc), 0
        last = await store.reader.last(subject)
        expected = last.sequence if last else 0
        for _ in range(times):
            wire_name, body = self.change(name, org=org, actor=actor)
            expected = sequence = await store.append(subject, wire_name, body, expected=expected)
        return sequence

    async def record(self, events: int, *, org: str = "acme", gateway: str = "edge-1") -> None:
        """Resolutions on KT_ACCESS."""
        messages = [
            (access_subject(org, "config_variable", f"V_{n % 7}"), self.resolution(f"V_{n % 7}", org, gateway))
            for n in range(events)
        ]
        await AccessLog(self.access).record(messages)

    async def put(self, subject: str, body: bytes) -> None:
        """Any bytes at all."""
        await self.access.jetstream().publish(subject, body)

    def change(self, name: str, *, org: str = "acme", actor: str = "alice") -> tuple[str, bytes]:
        event = ConfigVariableUpdated(f"note {next(self.numbers)}", sensitive=True)
        return encode(event, Resource("config_variable", name), self._metadata(org, Actor("admin", actor)))

    def resolution(self, name: str, org: str, gateway: str) -> bytes:
        resource = Resource("config_variable", name, 1)
        return encode(ConfigVariableResolved(1, "request"), resource, self._metadata(org, Actor("gateway", gateway)))[
            1
        ]

    def _metadata(self, org: str, actor: Actor) -> Metadata:
        number = next(self.numbers)
        origin = Origin(f"r-{number}")
        return Metadata(f"e-{number}", "2026-11-23T07:39:03.192164Z", org, "keeptrusts/test", actor, origin)

    async def rows(self, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
        async with self.pool.connection() as connection:
            cursor = await connection.execute(query, parameters)
            return await cursor.fetchall() if cursor.description else []

    async def table(self) -> list[tuple[Any, ...]]:
        return await self.rows("SELECT * FROM entries ORDER BY stream, sequence")

    async def project(self, *streams: str) -> None:
        """Bring the log to the end of the streams and stop."""
        async with self.projecting(*streams or SUBJECTS):
            pass

    @asynccontextmanager
    async def projecting(self, *streams: str) -> AsyncIterator[dict[str, ProjectionRunner]]:
        """Up to the end of the streams, and going on."""
        runners = {stream: self.runner(stream) for stream in streams or SUBJECTS}
        async with running(list(runners.values())):
            for stream, runner in runners.items():
                await reach(runner, await self.end(stream))
            yield runners

    async def end(self, stream: str) -> int:
        return int((await self.bulk.jetstream().stream_info(stream)).state.last_seq)

    async def messages(self, stream: str) -> list[tuple[int, bytes]]:
        """Sequence and bytes of all messages, as the server holds them."""
        js, last = self.bulk.jetstream(), await self.end(stream)
        found = [await js.get_msg(stream, seq=n, direct=True) for n in range(1, last + 1)]
        return [(n, message.data or b"") for n, message in enumerate(found, 1)]


async def reach(runner: ProjectionRunner, sequence: int) -> None:
    assert await runner.wait_for(sequence, WAIT_S), f"projected up to {runner.position}, not {sequence}"


@asynccontextmanager
async def running(runners: Sequence[ProjectionRunner]) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(runner.run()) for runner in runners]
    try:
        yield
    finally:
        pending: set[asyncio.Task[None]] = set(tasks)
        while pending:  # nats-py waits with wait_for, which can lose a cancellation before Python 3.12
            for task in pending:
                task.cancel()
            _, pending = await asyncio.wait(pending, timeout=0.5)


@asynccontextmanager
async def open_log(bus: Bus, database: Database) -> AsyncIterator[Log]:
    async with contextlib.AsyncExitStack() as stack:
        creds = bus.creds("audit")
        bulk = await stack.enter_async_context(bulk_connection("audit", bus.url, creds, ConnectionGuard()))
        pool = await stack.enter_async_context(open_pool(database.dsn("audit"), "audit", 8))
        yield Log(await bus.connect("command"), await bus.connect("resolver"), bulk, pool)


async def remake(bus: Bus, stream: str, **changes: Any) -> None:
    """Delete a stream and make it anew, empty: what only the provisioner may, and damage might."""
    nc = await bus.connect("provisioner")

    async def api(verb: str, body: Any) -> Any:
        reply = orjson.loads((await nc.request(f"$JS.API.STREAM.{verb}.{stream}", orjson.dumps(body))).data)
        assert "error" not in reply, reply
        return reply

    config = (await api("INFO", {}))["config"]
    await api("DELETE", {})
    await api("CREATE", {**config, **changes})


async def lose(bus: Bus, stream: str, *sequences: int) -> None:
    """Delete messages of a stream that was remade with ``deny_delete=False``."""
    js = (await bus.connect("provisioner")).jetstream()
    for sequence in sequences:
        await js.delete_msg(stream, sequence)

"""The service as a process: answers on the bus, survives kill -9, and says why it stops."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import orjson
import pytest

from libs.common.errors import KtError
from libs.common.messaging.rpc import RpcClient
from libs.common.protocol.audit import EXAMINE, LIST, Examine, ListEvents
from libs.common.service import HealthRequest, health_endpoint
from libs.common.subjects import ACCESS, EVENTS
from tests.engines import Bus, Database, eventually
from tests.integration.audit.log import Log, open_log

ROOT = Path(__file__).parents[3]
HEALTH = health_endpoint("audit")


class Service:
    """One process, and a client of it."""

    def __init__(self, bus: Bus, database: Database, client: RpcClient) -> None:
        self.client = client
        self.environment = {
            "PATH": os.environ["PATH"],
            "KEEPTRUSTS_NATS_URL": bus.url,
            "KEEPTRUSTS_NATS_CREDS": str(bus.creds("audit")),
            "KEEPTRUSTS_POSTGRES_DSN": database.dsn("audit"),
        }
        self.process: asyncio.subprocess.Process | None = None

    async def start(self) -> asyncio.subprocess.Process:
        self.process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "services.audit.main",
            cwd=ROOT,
            env=self.environment,
            stderr=asyncio.subprocess.PIPE,
        )
        return self.process

    async def stop(self, number: signal.Signals) -> int:
        assert self.process is not None
        if self.process.returncode is None:
            self.process.send_signal(number)
        await asyncio.wait_for(self.process.communicate(), 30)
        return int(self.process.returncode or 0)

    async def positions(self) -> dict[str, int]:
        try:
            return (await self.client.call(HEALTH, HealthRequest(), timeout_s=1)).positions
        except KtError:
            return {}

    async def reached(self, positions: dict[str, int]) -> None:
        async def there() -> bool:
            return await self.positions() == positions

        await eventually(there, within=30)


@asynccontextmanager
async def service(bus: Bus, database: Database) -> AsyncIterator[Service]:
    found = Service(bus, database, RpcClient(await bus.connect("api")))
    try:
        yield found
    finally:
        await found.stop(signal.SIGKILL)


async def test_it_answers_on_the_bus_and_stops_when_asked(nats_server: Bus, postgres: Database) -> None:
    async with open_log(nats_server, postgres) as log, service(nats_server, postgres) as audit:
        await log.append("OPENAI_API_KEY", times=2)
        await log.record(3)
        await audit.start()
        await audit.reached({"audit/KT_EVENTS": 2, "audit/KT_ACCESS": 3})
        await log.append("OPENAI_API_KEY")
        page = await audit.client.call(LIST, ListEvents(org="acme", filter="resource=OPENAI_*", limit=2))
        assert page.positions == [(EVENTS, 3), (EVENTS, 2)]
        assert orjson.loads(page.items[0])["data"]["resource"]["id"] == "OPENAI_API_KEY"
        with pytest.raises(KtError) as caught:
            await audit.client.call(LIST, ListEvents(org="acme", filter="resource"))
        assert (caught.value.code, caught.value.extra) == ("invalid_filter", {"position": 9})
        assert await audit.stop(signal.SIGTERM) == 0


@pytest.mark.chaos
async def test_killed_again_and_again_it_records_everything_once(nats_server: Bus, postgres: Database) -> None:
    chance = random.Random(11)
    async with open_log(nats_server, postgres) as log, service(nats_server, postgres) as audit:
        for _ in range(4):
            await audit.start()
            await eventually(audit.positions)
            writing = asyncio.create_task(_write(log))
            await _on_record(log, chance.randint(1, 1500))
            await audit.stop(signal.SIGKILL)
            await asyncio.wait_for(writing, 30)
        await audit.start()
        ends = {EVENTS: await log.end(EVENTS), ACCESS: await log.end(ACCESS)}
        await audit.reached({f"audit/{stream}": end for stream, end in ends.items()})
        rows = await log.rows(
            "SELECT stream, count(*), count(DISTINCT sequence), min(sequence), max(sequence)"
            " FROM entries GROUP BY 1 ORDER BY 1"
        )
        assert rows == [
            (1, ends[EVENTS], ends[EVENTS], 1, ends[EVENTS]),
            (2, ends[ACCESS], ends[ACCESS], 1, ends[ACCESS]),
        ]
        assert ends == {EVENTS: 4 * 20, ACCESS: 4 * 2000}


async def _write(log: Log) -> None:
    for _ in range(20):
        await asyncio.gather(log.record(100), log.append("A"))


async def _on_record(log: Log, more: int) -> None:
    """Wait for so many more rows: a moment in the middle of the projector's work."""
    wanted = (await _rows(log)) + more

    async def there() -> bool:
        return await _rows(log) >= wanted

    await eventually(there)


async def _rows(log: Log) -> int:
    return int((await log.rows("SELECT count(*) FROM entries"))[0][0])


async def test_a_damaged_stream_is_told_and_put_on_record_again_once_it_is_whole(
    nats_server: Bus, postgres: Database
) -> None:
    async with open_log(nats_server, postgres) as log, service(nats_server, postgres) as audit:
        await log.append("A")
        await log.project()
        await log.rows("UPDATE checkpoints SET sequence = 2 WHERE projection = 'audit/KT_EVENTS'")
        await audit.start()

        async def halted() -> str:
            try:
                return (await audit.client.call(EXAMINE, Examine(stream=EVENTS, first=1), timeout_s=2)).halted
            except KtError:
                return ""

        await eventually(halted)
        assert "KT_EVENTS ends at 1" in await halted()
        await log.rows("UPDATE checkpoints SET sequence = 1 WHERE projection = 'audit/KT_EVENTS'")
        await log.append("A")
        await audit.reached({"audit/KT_EVENTS": 2, "audit/KT_ACCESS": 0})
        assert await audit.stop(signal.SIGTERM) == 0

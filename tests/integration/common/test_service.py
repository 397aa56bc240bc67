"""A service process: how it waits for the bus, and how it stops."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections import Counter

import pytest
from faststream.nats import NatsBroker

from libs.common import service
from libs.common.errors import Exit, KtError
from libs.common.messaging.connection import ConnectionGuard
from libs.common.messaging.rpc import RpcClient
from libs.common.messaging.server import RpcServer, broker_for
from libs.common.service import HealthRequest, health_endpoint
from tests.engines import Bus, eventually
from tests.integration.common.test_rpc import ECHO, Ask, Told

HEALTH = health_endpoint("command")


async def spawn(bus: Bus) -> asyncio.subprocess.Process:
    environment = {"KEEPTRUSTS_NATS_URL": bus.url, "KEEPTRUSTS_NATS_CREDS": str(bus.creds("command"))}
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "services.command.main",
        env={**environment, "PATH": os.environ["PATH"]},
        stderr=asyncio.subprocess.PIPE,
    )


async def ending(process: asyncio.subprocess.Process, within: float) -> int | None:
    try:
        async with asyncio.timeout(within):
            await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return process.returncode


async def test_while_it_waits_for_the_bus_a_signal_ends_it(nats_server: Bus) -> None:
    await nats_server.kill()
    process = await spawn(nats_server)
    assert process.stderr is not None
    async with asyncio.timeout(30):
        await process.stderr.readuntil(b"nats.error")
    process.send_signal(signal.SIGTERM)
    assert await ending(process, 30) == Exit.OK


async def test_it_waits_for_a_bus_that_is_late_and_stops_on_a_signal(nats_server: Bus) -> None:
    await nats_server.kill()
    process = await spawn(nats_server)
    assert process.stderr is not None
    async with asyncio.timeout(30):
        await process.stderr.readuntil(b"nats.error")
    await nats_server.restart()
    client = RpcClient(await nats_server.connect("api"))

    async def is_ready() -> bool:
        try:
            return (await client.call(HEALTH, HealthRequest(), timeout_s=1)).ready
        except KtError:
            return False

    await eventually(is_ready)
    process.send_signal(signal.SIGTERM)
    assert await ending(process, 30) == Exit.OK


async def test_without_a_bus_it_gives_up(nats_server: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "CONNECT_TIMEOUT_S", 0.5)
    await nats_server.kill()
    broker = broker_for("command", nats_server.url, nats_server.creds("command"), ConnectionGuard())
    with pytest.raises(KtError) as caught:
        await asyncio.wait_for(service._connect(broker, nats_server.url), 30)
    assert caught.value.code == "unavailable"


@pytest.mark.parametrize("direct", [False, True], ids=["faststream", "direct"])
async def test_one_of_two_stops_and_no_question_is_lost(nats_server: Bus, *, direct: bool) -> None:
    first = await begun(nats_server, direct=direct)
    client = RpcClient(await nats_server.connect("api"))
    answers: Counter[str] = Counter()

    async def ask() -> None:
        for _ in range(20):
            try:
                answers[(await client.call(ECHO, Ask(text="hello"), timeout_s=10)).text] += 1
            except KtError as error:
                answers[error.detail] += 1

    asking = [asyncio.create_task(ask()) for _ in range(16)]
    await eventually(lambda: answers["hello"] > 32)
    second = await begun(nats_server, direct=direct)
    await stopped(*first)
    await asyncio.gather(*asking)
    await stopped(*second)
    assert answers == {"hello": 320}


async def begun(bus: Bus, *, direct: bool) -> tuple[RpcServer, NatsBroker]:
    async def slowly(subject: str, request: Ask) -> Told:
        await asyncio.sleep(0.05)
        return Told(text=request.text, subject=subject)

    broker = broker_for("command", bus.url, bus.creds("command"), ConnectionGuard())
    server = RpcServer(broker)
    server.serve(ECHO, slowly, direct=direct)
    await server.start(await broker.connect())
    return server, broker


async def stopped(server: RpcServer, broker: NatsBroker) -> None:
    await server.drain(5)
    await broker.stop()

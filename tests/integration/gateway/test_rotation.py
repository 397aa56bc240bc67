"""A rotation reaches the next request: no failed request, no cut stream, no older key than one seen before."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median

from services.gateway.application.ports import ReportKind
from services.gateway.domain.references import Purpose, Reason
from tests.integration.gateway.http_client import Answer, Connection, connection
from tests.integration.gateway.provider import EVENTS, Provider, running
from tests.integration.gateway.running import CHAT, JSON, Gateway, eventually, gateway, policy_config, stored, target
from tests.integration.gateway.system import System

STREAM = b'{"model": "gpt-4o-mini", "stream": true}'
CHAT_PATH = "/v1/chat/completions"


@asynccontextmanager
async def one_target(tmp_path: Path, system: System, provider: Provider) -> AsyncIterator[Gateway]:
    async with running(provider):
        text = policy_config(target("t1", provider.url, secret_key_ref=stored("KEY")))
        async with gateway(tmp_path, text, system) as gw:
            yield gw


@dataclass
class Load:
    """Clients that never stop asking, each on a connection of its own."""

    answers: list[Answer] = field(default_factory=list)
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)

    @classmethod
    def on(cls, gw: Gateway, clients: int) -> Load:
        load = cls()
        load._tasks = [asyncio.create_task(load._ask(gw)) for _ in range(clients)]
        return load

    async def _ask(self, gw: Gateway) -> None:
        headers = {**JSON, **gw.auth()}
        async with connection(gw.port) as opened:
            while True:
                self.answers.append(await opened.request("POST", CHAT_PATH, headers, CHAT))

    def has(self, answers: int) -> bool:
        return len(self.answers) >= answers

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        for result in await asyncio.gather(*self._tasks, return_exceptions=True):
            assert isinstance(result, asyncio.CancelledError), result


async def test_rotations_under_load_fail_no_request_and_are_fast(tmp_path: Path) -> None:
    system, provider = System(), Provider(accepted={"key-0"})
    system.put("KEY", "key-0")
    async with one_target(tmp_path, system, provider) as gw:
        load = Load.on(gw, clients=4)
        await eventually(lambda: len(load.answers) > 50)
        times = []
        for number in range(1, 31):
            key = f"key-{number}"
            provider.accepted.add(key)
            began = time.perf_counter()
            system.put("KEY", key)
            await eventually(partial(_seen_last, provider, key))
            times.append((time.perf_counter() - began) * 1000)
        await load.stop()
        entry = (await gw.targets())["t1"]
    assert {answer.status for answer in load.answers} == {200}
    assert entry["version"] == 31
    assert median(times) < 1000, "milliseconds; the measured figure is in the benchmark"


async def test_after_the_first_request_with_a_new_key_none_goes_out_with_the_old_one(tmp_path: Path) -> None:
    system, provider = System(), Provider(accepted={"old", "new"})
    system.put("KEY", "old")
    async with one_target(tmp_path, system, provider) as gw:
        assert (await gw.chat()).status == 200
        system.put("KEY", "new")
        await eventually(lambda: system.reports[-1].kind is ReportKind.VERSION_ADOPTED)
        provider.seen.clear()
        for _ in range(20):
            assert (await gw.chat()).status == 200
    assert set(provider.keys) == {"new"}


async def test_adoption_is_reported_once_the_data_plane_confirmed_it(tmp_path: Path) -> None:
    system, provider = System(), Provider(accepted={"old", "new"})
    system.put("KEY", "old")
    async with one_target(tmp_path, system, provider):
        (loaded,) = system.reports
        assert loaded.kind is ReportKind.CONFIG_LOADED
        assert [(t.target, t.reference.name, t.version) for t in loaded.targets] == [("t1", "KEY", 1)]
        system.put("KEY", "new")
        await eventually(lambda: len(system.reports) == 2)
    adopted = system.reports[1]
    assert adopted.kind is ReportKind.VERSION_ADOPTED
    assert [(t.target, t.version) for t in adopted.targets] == [("t1", 2)]
    assert system.asked == [(["KEY"], Purpose.STARTUP), (["KEY"], Purpose.ROTATION)]


async def test_a_stream_in_flight_survives_rotations(tmp_path: Path) -> None:
    system, provider = System(), Provider(accepted={"old", "new"})
    system.put("KEY", "old")
    async with one_target(tmp_path, system, provider) as gw, connection(gw.port) as opened:
        chunks = await begin_stream(gw, opened)
        assert await anext(chunks) == b"data: 0\n\n"
        system.put("KEY", "new")
        await eventually(lambda: len(system.reports) == 2)
        assert (await gw.chat()).status == 200
        provider.go_on.set()
        rest = b"".join([chunk async for chunk in chunks])
    assert rest == b"".join(b"data: %d\n\n" % number for number in range(1, EVENTS))
    assert provider.keys == ["old", "new"]


async def test_events_of_a_stream_arrive_one_by_one(tmp_path: Path) -> None:
    system, provider = System(), Provider(accepted={"key"})
    system.put("KEY", "key")
    async with one_target(tmp_path, system, provider) as gw, connection(gw.port) as opened:
        chunks = await begin_stream(gw, opened)
        async with asyncio.timeout(30):
            assert await anext(chunks) == b"data: 0\n\n", "although the provider has not finished"
        provider.go_on.set()


async def test_a_burst_of_rotations_ends_with_the_newest(tmp_path: Path) -> None:
    system, provider = System(), Provider(accepted={f"key-{n}" for n in range(100)})
    system.put("KEY", "key-0")
    async with one_target(tmp_path, system, provider) as gw:
        for number in range(1, 100):
            system.put("KEY", f"key-{number}")
        await eventually(lambda: [t.version for t in system.reports[-1].targets] == [100])
        assert (await gw.chat()).status == 200
    assert provider.keys == ["key-99"]
    assert len(system.asked) < 20, "what changes while one answer is awaited is asked for once"


async def test_a_deleted_variable_withdraws_its_key_and_a_new_one_serves_again(tmp_path: Path) -> None:
    system, provider = System(), Provider(accepted={"key", "again"})
    system.put("KEY", "key")
    async with one_target(tmp_path, system, provider) as gw:
        assert (await gw.chat()).status == 200
        system.delete("KEY")
        await eventually(lambda: system.reports[-1].targets == ())
        answer = await gw.chat()
        assert (answer.status, answer.code) == (503, "credential_unavailable")
        assert answer.headers["content-type"] == "application/json"
        entry = (await gw.targets())["t1"]
        assert (entry["state"], entry["reason"]) == ("withdrawn", "deleted")
        system.put("KEY", "again")
        await eventually(lambda: system.reports[-1].targets != ())
        assert (await gw.chat()).status == 200
    assert provider.keys == ["key", "again"]


async def test_while_the_system_is_away_the_last_key_serves_and_is_marked_stale(tmp_path: Path) -> None:
    system, provider = System(), Provider(accepted={"old", "new"})
    system.put("KEY", "old")
    async with one_target(tmp_path, system, provider) as gw:
        system.unreachable = True
        system.put("KEY", "new")

        async def stale() -> bool:
            return bool((await gw.targets())["t1"]["stale"])

        await eventually(stale)
        entry = (await gw.targets())["t1"]
        assert (entry["state"], entry["version"], entry["reason"]) == ("serving", 1, "unreachable")
        assert (await gw.chat()).status == 200
        system.unreachable = False
        await eventually(lambda: len(system.reports) == 2)
        entry = (await gw.targets())["t1"]
        assert (entry["stale"], entry["version"], entry["reason"]) == (False, 2, None)
    assert provider.keys == ["old"]


async def test_after_a_reconnect_what_was_missed_is_caught_up(tmp_path: Path) -> None:
    system, provider = System(), Provider(accepted={"old", "new"})
    system.put("KEY", "old")
    async with one_target(tmp_path, system, provider) as gw:
        system.put("KEY", "new", quietly=True)
        system.reconnect()
        await eventually(lambda: len(system.reports) == 2)
        assert (await gw.chat()).status == 200
    assert provider.keys == ["new"]
    assert system.asked[-1] == (["KEY"], Purpose.RECONNECT)


async def test_a_fault_in_the_system_keeps_the_key_that_is_held(tmp_path: Path) -> None:
    system, provider = System(), Provider(accepted={"old"})
    system.put("KEY", "old")
    async with one_target(tmp_path, system, provider) as gw:
        system.failures["KEY"] = Reason.UNDECRYPTABLE
        system.put("KEY", "new")

        async def stale() -> bool:
            return bool((await gw.targets())["t1"]["stale"])

        await eventually(stale)
        assert (await gw.chat()).status == 200
    assert provider.keys == ["old"]


async def test_a_new_value_that_can_not_be_a_header_leaves_the_old_key_in_use(tmp_path: Path) -> None:
    system, provider = System(), Provider(accepted={"old"})
    system.put("KEY", "old")
    async with one_target(tmp_path, system, provider) as gw:
        system.put("KEY", "new\r\nx-injected: yes")

        async def told() -> bool:
            return bool((await gw.targets())["t1"]["reason"] == "unusable_value")

        await eventually(told)
        assert (await gw.chat()).status == 200
    assert provider.keys == ["old"]


async def begin_stream(gw: Gateway, opened: Connection) -> AsyncIterator[bytes]:
    status, headers = await opened.begin("POST", CHAT_PATH, {**JSON, **gw.auth()}, STREAM)
    assert (status, headers["content-type"]) == (200, "text/event-stream")
    return opened.chunks(headers)


def _seen_last(provider: Provider, key: str) -> bool:
    return provider.keys[-1:] == [key]

"""What goes on record of the requests through a real Envoy: each once, numbered, nothing of what they said."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pytest

from services.gateway.domain.access import (
    Ended,
    Loss,
    Record,
    Recording,
    RefusedRequests,
    RequestRecord,
    Started,
    UnrecordedRequests,
)
from tests.integration.gateway.http_client import connection, request
from tests.integration.gateway.provider import Provider, running
from tests.integration.gateway.running import JSON, Gateway, eventually, gateway, policy_config, stored, target
from tests.integration.gateway.system import System

LOG_ALL = {"policies": {"chain": ["audit-logger"]}, "policy": {"audit-logger": {"log_all_access": True}}}
LOG_FAILURES = {"policies": {"chain": ["audit-logger"]}, "policy": {"audit-logger": {"log_all_access": False}}}


@pytest.fixture(autouse=True)
def patiently(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is counted is told once, at the end, and however long the machine takes for it."""
    monkeypatch.setattr("services.gateway.main.FINISH_S", 30.0)
    monkeypatch.setattr("services.gateway.application.losses.SETTLE_S", 15.0)
    monkeypatch.setattr("services.gateway.application.losses.EVERY_S", 600.0)


def records(system: System) -> list[Record]:
    """Those of the last epoch."""
    return list(system.access.values())[-1] if system.access else []


def requests(system: System) -> list[RequestRecord]:
    return [record for record in records(system) if isinstance(record, RequestRecord)]


def notes(system: System, kind: type) -> list[Record]:
    return [record for record in records(system) if isinstance(record, kind)]


async def until_recorded(system: System, count: int) -> Sequence[RequestRecord]:
    await eventually(lambda: len(requests(system)) >= count)
    assert len(requests(system)) == count
    return requests(system)


async def test_every_request_is_on_record_with_what_it_used_and_nothing_of_what_it_said(tmp_path: Path) -> None:
    system = System()
    system.put("OPENAI_API_KEY", "sk-first")
    async with running(Provider(accepted={"sk-first"})) as provider:
        config = policy_config(target("openai", provider.url, secret_key_ref=stored("OPENAI_API_KEY")), **LOG_ALL)
        async with gateway(tmp_path, config, system) as running_gateway:
            token = system.client_token(sub="search-team", jti="0193-token")
            answer = await request(
                running_gateway.port,
                "POST",
                "/v1/chat/completions?secret=in-the-query",
                {**JSON, "authorization": f"Bearer {token}", "user-agent": "in-the-agent", "x-note": "in-a-header"},
                b'{"model": "gpt-4o-mini", "messages": ["in-the-body"]}',
            )
            assert answer.status == 200
            (record,) = await until_recorded(system, 1)
            status = (await running_gateway.status())["access_log"]
        assert record == record._replace(
            client="search-team",
            client_token="0193-token",
            target="openai",
            store="store",
            reference="OPENAI_API_KEY",
            version=1,
            earliest_version=1,
            status=200,
            request_bytes=53,
            response_bytes=len(answer.body),
            failure="",
        )
        assert 0 < record.latency < 30_000_000
        assert (status["recording"], status["served"], status["unrecorded"]) == ("all", 1, 0)
        everything = repr(system.access)
        assert not any(said in everything for said in ("in-the", "in-a", "completions", "sk-first", token))


async def test_an_epoch_begins_and_ends_with_a_record_of_that_and_names_the_one_before(tmp_path: Path) -> None:
    system = System()
    system.put("KEY", "sk")
    async with running(Provider(accepted={"sk"})) as provider:
        config = policy_config(target("openai", provider.url, secret_key_ref=stored("KEY")), **LOG_ALL)
        for _ in range(2):
            async with gateway(tmp_path, config, system) as running_gateway:
                for _ in range(3):
                    assert (await running_gateway.chat()).status == 200
    first, second = system.access.values()
    assert first[0] == Started(first[0].at, Recording.ALL, "", True)  # type: ignore[union-attr]
    assert [type(record) for record in first] == [Started, *[RequestRecord] * 3, Ended]
    assert isinstance(first[-1], Ended)
    assert (first[-1].served, first[-1].failed, first[-1].refused, first[-1].unrecorded) == (3, 0, 0, 0)
    begun = second[0]
    assert isinstance(begun, Started)
    assert (begun.previous_epoch, begun.previous_ended) == (next(iter(system.access)), True)


async def test_requests_that_were_on_their_way_when_the_gateway_stopped_are_on_record(tmp_path: Path) -> None:
    system = System()
    system.put("KEY", "sk")
    async with running(Provider(accepted={"sk"})) as provider:
        config = policy_config(target("openai", provider.url, secret_key_ref=stored("KEY")), **LOG_ALL)
        async with gateway(tmp_path, config, system) as running_gateway:
            await asyncio.gather(*(running_gateway.chat() for _ in range(40)))
            running_gateway.stop.set()
    assert len(requests(system)) == 40
    assert isinstance(records(system)[-1], Ended)


async def test_without_log_all_access_only_failures_are_on_record(tmp_path: Path) -> None:
    system = System()
    system.put("KEY", "sk")
    system.put("WRONG", "sk-wrong")
    async with running(Provider(accepted={"sk"})) as provider:
        config = policy_config(
            target("good", provider.url, secret_key_ref=stored("KEY")),
            target("bad", provider.url, secret_key_ref=stored("WRONG")),
            target("down", "http://127.0.0.1:9", secret_key_ref=stored("KEY")),
            **LOG_FAILURES,
        )
        async with gateway(tmp_path, config, system) as running_gateway:
            assert (await running_gateway.chat()).status == 200
            assert (await running_gateway.chat("/targets/bad/v1/chat/completions")).status == 401
            assert (await running_gateway.chat("/targets/down/v1/chat/completions")).status == 503
            system.delete("WRONG")
            await eventually(lambda: withdrawn(running_gateway, "bad"))
            assert (await running_gateway.chat("/targets/bad/v1/chat/completions")).status == 503
            assert (await running_gateway.chat("/targets/none/v1/chat/completions")).status == 404
            await until_recorded(system, 4)
            system.put("WRONG", "sk-wrong")
            reloaded = await running_gateway.reload(config.replace("false", "true"))
            assert reloaded.status == 200
            await eventually(lambda: chat_is_recorded(running_gateway, system))
    failures = [(record.target, record.failure, record.version) for record in requests(system)[:4]]
    assert failures == [
        ("bad", "provider_unauthorized", 1),
        ("down", "provider_unreachable", 1),
        ("bad", "credential_unavailable", 0),
        ("", "unknown_target", 0),
    ]


async def withdrawn(running_gateway: Gateway, id_: str) -> bool:
    entry = (await running_gateway.targets())[id_]
    return bool(entry["state"] == "withdrawn" and entry["acknowledged"])


async def chat_is_recorded(running_gateway: Gateway, system: System) -> bool:
    """Envoy hears of another recording by itself, a moment after the reload."""
    await running_gateway.chat()
    await asyncio.sleep(0.2)
    return any(not record.failure for record in requests(system))


async def test_requests_of_nobody_known_are_counted_and_not_recorded_one_by_one(tmp_path: Path) -> None:
    system = System()
    system.put("KEY", "sk")
    async with running(Provider(accepted={"sk"})) as provider:
        config = policy_config(target("openai", provider.url, secret_key_ref=stored("KEY")), **LOG_ALL)
        async with gateway(tmp_path, config, system) as running_gateway:
            for _ in range(30):
                assert (await running_gateway.chat(authorization="Bearer nonsense")).status == 401
            other = system.client_token(org="another")
            assert (await running_gateway.chat(authorization=f"Bearer {other}")).status == 403
            assert (await running_gateway.control("GET", "status")).status == 200
            for _ in range(2):
                answer = await request(running_gateway.port, "GET", "/-/keeptrusts/v1/status")
                assert answer.status == 401
            assert (await raw(running_gateway.port, b"NOT HTTP AT ALL\r\n\r\n")).startswith(b"HTTP/1.1 400")
    refused = {record.reason: record for record in records(system) if isinstance(record, RefusedRequests)}
    assert {reason: record.count for reason, record in refused.items()} == {
        "unauthenticated": 30,
        "forbidden": 1,
        "control_refused": 2,
        "malformed": 1,
    }
    assert refused[next(iter(refused))].addresses == (("127.0.0.1", 30),)
    assert requests(system) == []


async def raw(port: int, data: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(data)
    try:
        async with asyncio.timeout(5):
            return await reader.read()
    finally:
        writer.close()


async def test_a_refusal_of_a_known_client_is_on_record_by_its_reason(tmp_path: Path) -> None:
    system = System()
    system.put("KEY", "sk")
    async with running(Provider(accepted={"sk"})) as provider:
        config = policy_config(target("openai", provider.url, secret_key_ref=stored("KEY")), **LOG_ALL)
        async with gateway(tmp_path, config, system) as running_gateway:
            await running_gateway.chat("/targets/none/v1/chat/completions")
            await running_gateway.chat("/v1/chat/completions?api_key=sk-in-the-url")
            await request(running_gateway.port, "TRACE", "/v1/models", running_gateway.auth())
            provider.hang_up = True
            await running_gateway.chat()
            provider.hang_up = False
            async with connection(running_gateway.port) as opened:
                await opened.begin(
                    "POST", "/v1/chat/completions", {**JSON, **running_gateway.auth()}, b'{"stream": true}'
                )
            await until_recorded(system, 5)
    found = [(record.failure, record.status, record.client) for record in requests(system)]
    assert found == [
        ("unknown_target", 404, "app"),
        ("credential_in_url", 400, "app"),
        ("method_not_allowed", 405, "app"),
        ("provider_unreachable", 503, "app"),
        ("", 200, "app"),  # the client left in the middle of the answer
    ]


async def test_a_rotation_shows_in_the_records_at_the_request_that_carried_the_new_key(tmp_path: Path) -> None:
    system = System()
    system.put("KEY", "sk-1")
    async with running(Provider(accepted={"sk-1", "sk-2", "sk-3"})) as provider:
        config = policy_config(target("openai", provider.url, secret_key_ref=stored("KEY")), **LOG_ALL)
        async with gateway(tmp_path, config, system) as running_gateway:
            for version in (1, 2, 3):
                if version > 1:
                    system.put("KEY", f"sk-{version}")
                for _ in range(30):
                    await running_gateway.chat()
                await eventually(partial(is_certain, running_gateway, system, version), within_s=30)
            recorded = await until_recorded(system, len(provider.keys))
    carried = [int(key.removeprefix("sk-")) for key in provider.keys]
    assert all(r.earliest_version <= used <= r.version for r, used in zip(recorded, carried, strict=True))
    certain = [r.version for r in recorded if r.earliest_version == r.version]
    assert (certain, set(certain)) == (sorted(certain), {1, 2, 3})


async def is_certain(running_gateway: Gateway, system: System, version: int) -> bool:
    """Soon after a rotation no request is certain to carry the new version."""
    await running_gateway.chat()
    return any(record.earliest_version == record.version == version for record in requests(system))


async def test_while_the_system_is_away_records_wait_and_none_is_lost(tmp_path: Path) -> None:
    system = System()
    system.put("KEY", "sk")
    async with running(Provider(accepted={"sk"})) as provider:
        config = policy_config(target("openai", provider.url, secret_key_ref=stored("KEY")), **LOG_ALL)
        async with gateway(tmp_path, config, system) as running_gateway:
            await running_gateway.chat()
            await until_recorded(system, 1)
            system.unreachable = True
            for _ in range(5):
                assert (await running_gateway.chat()).status == 200
            await eventually(lambda: waiting(running_gateway, 5))
            system.unreachable = False
            await until_recorded(system, 6)


async def unrecorded(running_gateway: Gateway, count: int) -> bool:
    return bool((await running_gateway.status())["access_log"]["unrecorded"] == count)


async def waiting(running_gateway: Gateway, count: int) -> bool:
    return bool((await running_gateway.status())["access_log"]["waiting"] == count)


async def test_what_a_full_queue_could_not_take_is_on_record_as_a_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.gateway.application.access_log.MAX_WAITING", 8)
    monkeypatch.setattr("services.gateway.application.access_log.ROOM_AGAIN", 4)
    system = System()
    system.put("KEY", "sk")
    async with running(Provider(accepted={"sk"})) as provider:
        config = policy_config(target("openai", provider.url, secret_key_ref=stored("KEY")), **LOG_ALL)
        async with gateway(tmp_path, config, system) as running_gateway:
            await eventually(lambda: records(system))
            system.unreachable = True
            for _ in range(20):
                assert (await running_gateway.chat()).status == 200
            await eventually(lambda: unrecorded(running_gateway, 12))
            system.unreachable = False
            await eventually(lambda: waiting(running_gateway, 0))
            assert (await running_gateway.chat()).status == 200
    (lost,) = [record for record in records(system) if isinstance(record, UnrecordedRequests)]
    assert (lost.reason, lost.count, lost.exact) == (Loss.QUEUE_FULL, 12, True)
    assert [type(r) for r in records(system)] == [
        Started,
        *[RequestRecord] * 8,
        UnrecordedRequests,
        RequestRecord,
        Ended,
    ]
    ended = records(system)[-1]
    assert isinstance(ended, Ended)
    assert (ended.served, ended.unrecorded) == (9, 12)


async def test_a_proxy_that_is_killed_leaves_a_record_of_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.gateway.application.losses.EVERY_S", 0.2)
    system = System()
    system.put("KEY", "sk")
    async with running(Provider(accepted={"sk"})) as provider:
        config = policy_config(target("openai", provider.url, secret_key_ref=stored("KEY")), **LOG_ALL)
        async with gateway(tmp_path, config, system) as running_gateway:
            await running_gateway.chat()
            await until_recorded(system, 1)
            os.kill(running_gateway.envoy().pid, signal.SIGKILL)
            await eventually(lambda: notes(system, UnrecordedRequests), within_s=30)
            monkeypatch.setattr("services.gateway.application.losses.EVERY_S", 600.0)
            await eventually(lambda: answers(running_gateway), within_s=30)
    lost = notes(system, UnrecordedRequests)[0]
    assert isinstance(lost, UnrecordedRequests)
    assert (lost.reason, lost.exact) == (Loss.PROXY_LOST, False)
    assert notes(system, UnrecordedRequests) == [lost]
    ended = records(system)[-1]
    assert isinstance(ended, Ended)
    assert ended.served == len(requests(system))


async def answers(running_gateway: Gateway) -> bool:
    try:
        return (await running_gateway.chat()).status == 200
    except (OSError, asyncio.IncompleteReadError):
        return False

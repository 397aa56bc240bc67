"""A reload is taken as a whole or refused as a whole; requests and streams do not notice it."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path

import pytest

from services.gateway.adapters.envoy import data_plane
from services.gateway.application.ports import ReportKind
from tests.integration.gateway.http_client import connection, request
from tests.integration.gateway.provider import EVENTS, Provider, running
from tests.integration.gateway.running import (
    CHAT,
    CLIENT_KEY,
    JSON,
    Gateway,
    envoy_admin,
    eventually,
    gateway,
    policy_config,
    stored,
    target,
)
from tests.integration.gateway.system import System
from tests.integration.gateway.test_rotation import Load, begin_stream


async def test_a_reload_switches_to_another_variable(tmp_path: Path) -> None:
    system, provider = System(), Provider(accepted={"one", "two"})
    system.put("KEY", "one")
    async with running(provider):
        text = policy_config(target("t1", provider.url, secret_key_ref=stored("KEY")))
        async with gateway(tmp_path, text, system) as gw:
            system.put("KEY_V2", "two")
            answer = await gw.reload(text.replace('"KEY"', '"KEY_V2"'))
            assert (answer.status, answer.json["outcome"]) == (200, "reloaded")
            assert (await gw.targets())["t1"]["reference"]["name"] == "KEY_V2"
            assert (await gw.chat()).status == 200
            assert system.watched == {"KEY_V2"}
    assert provider.keys == ["two"]
    assert [report.kind for report in system.reports] == [ReportKind.CONFIG_LOADED, ReportKind.CONFIG_RELOADED]


async def test_reloads_under_load_fail_no_request(tmp_path: Path) -> None:
    system, provider = System(), Provider(accepted={"one", "two"})
    system.put("KEY", "one")
    system.put("KEY_V2", "two")
    async with running(provider):
        text = policy_config(target("t1", provider.url, secret_key_ref=stored("KEY")))
        other = text.replace('"KEY"', '"KEY_V2"')
        async with gateway(tmp_path, text, system) as gw:
            load = Load.on(gw, clients=4)
            for number in range(10):
                enough = len(load.answers) + 20
                assert (await gw.reload(text if number % 2 else other)).status == 200
                await eventually(partial(load.has, enough))
            await load.stop()
    assert {answer.status for answer in load.answers} == {200}
    assert set(provider.keys) == {"one", "two"}


async def test_a_stream_in_flight_survives_a_reload_that_drops_its_target(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data_plane, "LINGER_S", 0.05)
    system, provider = System(), Provider(accepted={"one"})
    system.put("KEY", "one")
    async with running(provider):
        text = policy_config(target("t1", provider.url, secret_key_ref=stored("KEY")))
        async with gateway(tmp_path, text, system) as gw, connection(gw.port) as opened:
            chunks = await begin_stream(gw, opened)
            assert await anext(chunks) == b"data: 0\n\n"
            assert (await gw.reload(text.replace('"t1"', '"t2"'))).status == 200
            await eventually(_old_target_is_gone)
            provider.go_on.set()
            rest = b"".join([chunk async for chunk in chunks])
    assert rest.count(b"data:") == EVENTS - 1


@pytest.mark.parametrize(
    ("text", "status", "code"),
    [
        ("pack: {name: x", 422, "invalid_config"),
        ("KEY_GONE", 409, "unresolved"),
        ("NO_SUCH_ENVIRONMENT_VARIABLE", 422, "invalid_config"),
    ],
)
async def test_a_refused_reload_changes_nothing_and_says_why(
    tmp_path: Path, text: str, status: int, code: str
) -> None:
    system, provider = System(), Provider(accepted={"one"})
    system.put("KEY", "one")
    async with running(provider):
        good = policy_config(target("t1", provider.url, secret_key_ref=stored("KEY")))
        if text == "KEY_GONE":
            text = good.replace('"KEY"', '"KEY_GONE"')
        elif text.startswith("NO_SUCH"):
            text = policy_config(target("t1", provider.url, secret_key_ref={"env": text}))
        async with gateway(tmp_path, good, system) as gw:
            before = await gw.status()
            answer = await gw.reload(text)
            assert (answer.status, answer.code) == (status, code)
            assert answer.headers["content-type"] == "application/problem+json"
            assert await gw.status() == before
            assert (await gw.chat()).status == 200
            assert system.watched == {"KEY"}
            refused = system.reports[-1]
            assert (refused.kind, refused.reason) == (ReportKind.RELOAD_REFUSED, code)


async def test_a_reload_while_the_system_is_away_is_refused(tmp_path: Path) -> None:
    system, provider = System(), Provider(accepted={"one"})
    system.put("KEY", "one")
    async with running(provider):
        text = policy_config(target("t1", provider.url, secret_key_ref=stored("KEY")))
        async with gateway(tmp_path, text, system) as gw:
            system.unreachable = True
            answer = await gw.reload(text.replace('"t1"', '"t2"'))
            assert (answer.status, answer.code) == (503, "unreachable")
            assert (await gw.chat()).status == 200
            assert list(await gw.targets()) == ["t1"]


async def test_a_gateway_without_a_system_can_be_led_to_one_by_a_reload(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KT_TEST_KEY", "from-environment")
    system, provider = System(), Provider(accepted={"from-environment", "from-store"})
    system.put("KEY", "from-store")
    async with running(provider):
        text = policy_config(target("t1", provider.url, secret_key_ref={"env": "KT_TEST_KEY"}))
        async with gateway(tmp_path, text, system, client_key=CLIENT_KEY) as gw:
            assert (await gw.chat(x_api_key=CLIENT_KEY)).status == 200
            assert system.asked == []
            other = policy_config(target("t1", provider.url, secret_key_ref=stored("KEY")))
            assert (await gw.reload(other)).status == 200
            assert (await gw.chat(x_api_key=CLIENT_KEY)).status == 200, "clients are authenticated as before"
            assert (await gw.reload(text)).status == 200
            assert (await gw.chat(x_api_key=CLIENT_KEY)).status == 200
    assert provider.keys == ["from-environment", "from-store", "from-environment"]


async def test_reloads_at_the_same_time_wait_for_each_other(tmp_path: Path) -> None:
    system, provider = System(), Provider(accepted={"one"})
    system.put("KEY", "one")
    async with running(provider):
        text = policy_config(target("t1", provider.url, secret_key_ref=stored("KEY")))
        async with gateway(tmp_path, text, system) as gw:
            answers = await asyncio.gather(*(gw.control("POST", "reload") for _ in range(4)))
            assert [answer.status for answer in answers] == [200] * 4
            assert (await gw.chat()).status == 200


async def test_a_rotation_after_a_reload_back_and_forth_is_not_lost(tmp_path: Path) -> None:
    system, provider = System(), Provider(accepted={"one", "one-b", "two"})
    system.put("KEY", "one")
    system.put("KEY_V2", "two")
    async with running(provider):
        text = policy_config(target("t1", provider.url, secret_key_ref=stored("KEY")))
        async with gateway(tmp_path, text, system) as gw:
            assert (await gw.reload(text.replace('"KEY"', '"KEY_V2"'))).status == 200
            system.put("KEY", "one-b")
            assert (await gw.reload(text)).status == 200
            assert (await gw.chat()).status == 200
    assert provider.keys == ["one-b"], "the key that lingered from before is not served again"


async def test_the_control_endpoints_need_a_token(tmp_path: Path) -> None:
    system, provider = System(), Provider(accepted={"one"})
    system.put("KEY", "one")
    async with running(provider):
        text = policy_config(target("t1", provider.url, secret_key_ref=stored("KEY")))
        async with gateway(tmp_path, text, system) as gw:
            await _refuses(gw, {}, 401, "unauthenticated")
            await _refuses(gw, {"authorization": "Bearer wrong"}, 403, "forbidden")
            await _refuses(gw, gw.auth(), 403, "forbidden")
            health = await request(gw.port, "GET", "/-/keeptrusts/healthz")
            assert (health.status, health.json) == (200, {"status": "ok"})
            assert (gw.home / "gateways/keeptrusts-proxy/control.token").stat().st_mode & 0o777 == 0o600
            unknown = await gw.control("GET", "nothing")
            assert (unknown.status, unknown.code) == (404, "not_found")
    assert provider.seen == []


async def _refuses(gw: Gateway, headers: dict[str, str], status: int, code: str) -> None:
    for method, path in (("GET", "status"), ("POST", "reload")):
        answer = await request(gw.port, method, f"/-/keeptrusts/v1/{path}", {**JSON, **headers}, CHAT)
        assert (answer.status, answer.code) == (status, code)


async def _old_target_is_gone() -> bool:
    clusters = await envoy_admin("/clusters")
    return b"t2." in clusters and b"t1." not in clusters

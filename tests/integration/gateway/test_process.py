"""The gateway as a process: what it prints, how it ends, and what happens when something is killed."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import orjson
import psutil
import pytest

from libs.common.errors import Exit, KtError
from services.gateway import main
from tests.integration.gateway.http_client import connection, request
from tests.integration.gateway.provider import EVENTS, Provider, running
from tests.integration.gateway.running import (
    CHAT,
    CLIENT_KEY,
    JSON,
    eventually,
    gateway,
    policy_config,
    stored,
    target,
)
from tests.integration.gateway.system import System

AUTH = {**JSON, "x-api-key": CLIENT_KEY}
PROVIDER_KEY = "provider-key-canary-1"


@dataclass
class Agent:
    process: asyncio.subprocess.Process
    home: Path
    ready: str = ""

    @property
    def port(self) -> int:
        return int(self.ready.split()[1].rsplit(":", 1)[1])

    def envoy(self) -> psutil.Process:
        (found,) = [child for child in psutil.Process(self.process.pid).children() if child.name() == "envoy"]
        return found

    async def ended(self, within_s: float = 30) -> tuple[int, str]:
        async with asyncio.timeout(within_s):
            _, err = await self.process.communicate()
        assert self.process.returncode is not None
        return self.process.returncode, err.decode()


@asynccontextmanager
async def agent(folder: Path, text: str, *, wait: bool = True, **environment: str) -> AsyncIterator[Agent]:
    """``python -m services.gateway.main`` with nothing in its environment but what it is given."""
    config = folder / "policy-config.yaml"
    await asyncio.to_thread(config.write_text, text)
    env = {
        "PATH": os.environ["PATH"],
        "TMPDIR": tempfile.gettempdir(),
        "KEEPTRUSTS_HOME": str(folder / "home"),
        "KEEPTRUSTS_GATEWAY_POLICY_CONFIG": str(config),
        "KEEPTRUSTS_GATEWAY_LISTEN": "127.0.0.1:0",
        "KEEPTRUSTS_GATEWAY_CONCURRENCY": "1",
        "KEEPTRUSTS_GATEWAY_CLIENT_KEY": CLIENT_KEY,
        "KT_TEST_KEY": PROVIDER_KEY,
        **environment,
    }
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "services.gateway.main"),
        env={name: value for name, value in env.items() if value},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    started = Agent(process, folder / "home")
    try:
        if wait:
            assert process.stdout is not None
            async with asyncio.timeout(30):
                started.ready = (await process.stdout.readline()).decode()
            assert started.ready.startswith("ready http://127.0.0.1:"), await started.ended()
        yield started
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def from_environment(url: str) -> str:
    return policy_config(target("t1", url, secret_key_ref={"env": "KT_TEST_KEY"}))


async def test_a_killed_envoy_comes_back_and_serves_with_the_newest_key(tmp_path: Path) -> None:
    system, provider = System(), Provider(accepted={"old", "new"})
    system.put("KEY", "old")
    async with running(provider):
        text = policy_config(target("t1", provider.url, secret_key_ref=stored("KEY")))
        async with gateway(tmp_path, text, system) as gw:
            assert (await gw.chat()).status == 200
            system.put("KEY", "new")
            first = gw.envoy()
            first.kill()

            async def serves() -> bool:
                try:
                    return (await gw.chat()).status == 200
                except (OSError, asyncio.IncompleteReadError):
                    return False

            await eventually(serves)
            assert gw.envoy().pid != first.pid
            await eventually(lambda: [t.version for t in system.reports[-1].targets] == [2])
            assert (await gw.status())["data_plane_connected"]
    assert provider.keys == ["old", "new"]


async def test_a_key_withdrawn_while_envoy_restarts_stays_withdrawn(tmp_path: Path) -> None:
    system, provider = System(), Provider(accepted={"key"})
    system.put("KEY", "key")
    async with running(provider):
        text = policy_config(target("t1", provider.url, secret_key_ref=stored("KEY")))
        async with gateway(tmp_path, text, system) as gw:
            gw.envoy().kill()
            system.delete("KEY")

            async def refuses() -> bool:
                try:
                    return (await gw.chat()).code == "credential_unavailable"
                except (OSError, asyncio.IncompleteReadError):
                    return False

            await eventually(refuses)
    assert provider.keys == []


async def test_it_stops_on_sigterm_and_takes_envoy_along(tmp_path: Path) -> None:
    async with running(Provider(accepted={PROVIDER_KEY})) as provider:
        async with agent(tmp_path, from_environment(provider.url)) as started:
            assert (await request(started.port, "POST", "/v1/x", AUTH, CHAT)).status == 200
            envoy = started.envoy()
            state = orjson.loads((started.home / "gateways/keeptrusts-proxy/gateway.json").read_bytes())
            assert state["url"] == started.ready.split()[1]
            started.process.send_signal(signal.SIGTERM)
            code, _ = await started.ended()
            assert code == 0
            assert not envoy.is_running()
            assert not (started.home / "gateways/keeptrusts-proxy/gateway.json").exists()
        assert _runtime_directories() == []


async def test_a_stop_lets_a_stream_end(tmp_path: Path) -> None:
    async with (
        running(Provider(accepted={PROVIDER_KEY})) as provider,
        agent(tmp_path, from_environment(provider.url)) as started,
        connection(started.port) as opened,
    ):
        status, headers = await opened.begin("POST", "/v1/x", AUTH, b'{"stream": true}')
        assert status == 200
        chunks = opened.chunks(headers)
        await anext(chunks)
        started.process.send_signal(signal.SIGTERM)
        await eventually(lambda: not _listens(started.port))
        provider.go_on.set()
        rest = b"".join([chunk async for chunk in chunks])
        assert rest.count(b"data:") == EVENTS - 1
        assert (await started.ended())[0] == 0


@pytest.mark.chaos
async def test_a_signal_during_the_start_ends_it(tmp_path: Path) -> None:
    """The API takes the connection and never answers."""
    never = asyncio.Event()
    asked = asyncio.Event()

    async def hang(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.set()
        await never.wait()
        writer.close()

    server = await asyncio.start_server(hang, "127.0.0.1", 0)
    given = {
        "KEEPTRUSTS_API_URL": f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}",
        "KEEPTRUSTS_TOKEN": "some-token-for-the-system",
    }
    text = policy_config(target("t1", "http://127.0.0.1:9", secret_key_ref=stored("KEY")))
    async with agent(tmp_path, text, wait=False, **given) as started:
        async with asyncio.timeout(30):
            await asked.wait()
        started.process.send_signal(signal.SIGTERM)
        code, _ = await started.ended()
    assert code == 0
    never.set()
    server.close()


@pytest.mark.chaos
async def test_envoy_dies_with_a_killed_agent(tmp_path: Path) -> None:
    async with agent(tmp_path, from_environment("http://127.0.0.1:9")) as started:
        envoy = started.envoy()
        started.process.kill()
        await started.process.wait()
        await eventually(lambda: not envoy.is_running() or envoy.status() == psutil.STATUS_ZOMBIE)


async def test_a_missing_environment_variable_stops_the_start(tmp_path: Path) -> None:
    async with agent(tmp_path, from_environment("http://127.0.0.1:9"), wait=False, KT_TEST_KEY="") as started:
        code, err = await started.ended()
    assert code == Exit.USAGE
    assert "KT_TEST_KEY is not set" in err
    assert "line 1" in err


async def test_config_variables_without_a_system_stop_the_start(tmp_path: Path) -> None:
    text = policy_config(target("t1", "http://127.0.0.1:9", secret_key_ref=stored("KEY")))
    async with agent(tmp_path, text, wait=False) as started:
        code, err = await started.ended()
    assert code == Exit.USAGE
    assert "KEEPTRUSTS_API_URL" in err


async def test_an_unreachable_system_stops_the_start(tmp_path: Path) -> None:
    text = policy_config(target("t1", "http://127.0.0.1:9", secret_key_ref=stored("KEY")))
    given = {"KEEPTRUSTS_API_URL": "http://127.0.0.1:9", "KEEPTRUSTS_TOKEN": "some-token-for-the-system"}
    async with agent(tmp_path, text, wait=False, **given) as started:
        code, err = await started.ended()
    assert code == Exit.UNREACHABLE
    assert "some-token" not in err


@pytest.mark.chaos
async def test_a_second_gateway_of_the_same_name_and_one_on_a_taken_port_are_refused(tmp_path: Path) -> None:
    text = from_environment("http://127.0.0.1:9")
    async with agent(tmp_path, text) as first:
        async with agent(tmp_path, text, wait=False) as second:
            code, err = await second.ended()
            assert code == Exit.CONFLICT
            assert "already runs" in err
        taken = {"KEEPTRUSTS_GATEWAY_NAME": "other", "KEEPTRUSTS_GATEWAY_LISTEN": f"127.0.0.1:{first.port}"}
        async with agent(tmp_path, text, wait=False, **taken) as third:
            code, err = await third.ended()
            assert code == Exit.USAGE
            assert f"port {first.port}" in err


async def test_with_environment_references_alone_no_nats_client_is_loaded() -> None:
    program = "import services.gateway.main, sys; print([m for m in sys.modules if m.split('.')[0] == 'nats'])"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    assert out.strip() == b"[]"


async def test_no_key_stands_in_a_file_a_log_or_a_process_listing(tmp_path: Path) -> None:
    async with (
        running(Provider(accepted={PROVIDER_KEY})) as provider,
        agent(tmp_path, from_environment(provider.url)) as started,
    ):
        assert (await request(started.port, "POST", "/v1/x", AUTH, CHAT)).status == 200
        envoy = started.envoy()
        assert PROVIDER_KEY not in str([envoy.cmdline(), envoy.environ()])
        written = _contents(tmp_path)
        assert len(written) >= 4, "configuration, bootstrap, control token, state"
        for path, content in written.items():
            assert PROVIDER_KEY.encode() not in content, path
            assert CLIENT_KEY.encode() not in content, path
        started.process.send_signal(signal.SIGTERM)
        _, err = await started.ended()
    assert PROVIDER_KEY not in err
    assert CLIENT_KEY not in err


async def test_an_envoy_that_ends_at_once_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(bootstrap: Path, concurrency: int) -> list[str]:
        return ["/bin/sh", "-c", "echo 'no such flag' >&2; exit 1"]

    monkeypatch.setattr(main, "envoy_command", broken)
    monkeypatch.setenv("KT_TEST_KEY", PROVIDER_KEY)
    with pytest.raises(KtError) as error:
        async with gateway(tmp_path, from_environment("http://127.0.0.1:9")):
            pass
    assert error.value.code == "engine_failed"
    assert "no such flag" in error.value.detail


@pytest.mark.parametrize("listen", ["nonsense", "127.0.0.1", "127.0.0.1:99999", "example.com:80"])
async def test_a_listen_address_that_is_none_is_refused(tmp_path: Path, listen: str) -> None:
    text = from_environment("http://127.0.0.1:9")
    async with agent(tmp_path, text, wait=False, KEEPTRUSTS_GATEWAY_LISTEN=listen) as started:
        code, err = await started.ended()
    assert code == Exit.USAGE
    assert "address:port" in err


def _listens(port: int) -> bool:
    connections = psutil.net_connections("tcp")
    return any(c.laddr and c.laddr.port == port and c.status == psutil.CONN_LISTEN for c in connections)


def _runtime_directories() -> list[Path]:
    return list(Path(tempfile.gettempdir()).glob("kt-gateway-*"))


def _contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}

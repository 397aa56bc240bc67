"""A gateway under test: the real agent in this process, with the real Envoy beside it."""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from services.gateway.main import Ready, run_gateway
from services.gateway.settings import GatewaySettings
from tests.integration.gateway.http_client import Answer, request
from tests.integration.gateway.provider import Provider, Seen
from tests.integration.gateway.system import System

CLIENT_KEY = "client-key-for-tests-0123"
CHAT = b'{"model": "gpt-4o-mini", "messages": []}'
JSON = {"content-type": "application/json"}


def target(id_: str, url: str, *, provider: str = "openai", **more: Any) -> dict[str, Any]:
    return {"id": id_, "provider": provider, "base_url": url, **more}


def stored(name: str) -> dict[str, str]:
    return {"store": name}


def policy_config(*targets: dict[str, Any], **changes: Any) -> str:
    """YAML is a superset of JSON."""
    pack = {"name": "test", "version": "1.0.0", "enabled": True}
    return json.dumps({"pack": pack, "providers": {"targets": list(targets)}, **changes})


@dataclass
class Gateway:
    home: Path
    config: Path
    system: System
    ready: Ready | None = None
    task: asyncio.Task[None] | None = None
    stop: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def port(self) -> int:
        assert self.ready is not None
        return int(self.ready.url.rsplit(":", 1)[1])

    @property
    def control_token(self) -> str:
        return (self.home / "gateways/keeptrusts-proxy/control.token").read_text().strip()

    def auth(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.system.client_token()}"}

    async def chat(self, path: str = "/v1/chat/completions", **headers: str) -> Answer:
        fields = {name.replace("_", "-"): value for name, value in headers.items()} or self.auth()
        return await request(self.port, "POST", path, {**JSON, **fields}, CHAT)

    async def control(self, method: str, path: str) -> Answer:
        headers = {"authorization": f"Bearer {self.control_token}"}
        return await request(self.port, method, f"/-/keeptrusts/v1/{path}", headers)

    async def source(self) -> dict[str, Any]:
        return dict((await self.status())["source"])

    async def status(self) -> dict[str, Any]:
        answer = await self.control("GET", "status")
        assert answer.status == 200, answer
        return dict(answer.json)

    async def targets(self) -> dict[str, dict[str, Any]]:
        return {entry["id"]: entry for entry in (await self.status())["targets"]}

    async def reload(self, text: str) -> Answer:
        self.config.write_text(text)
        return await self.control("POST", "reload")

    def envoy(self) -> psutil.Process:
        (found,) = [child for child in psutil.Process().children() if child.name() == "envoy"]
        return found


@asynccontextmanager
async def gateway(
    home: Path, text: str, system: System | None = None, *, anonymous: bool = False, **settings: Any
) -> AsyncIterator[Gateway]:
    """A gateway that is ready; stopped at the end. Without a ``policy_config`` of its own, ``text`` is its file."""
    config = home / "policy-config.yaml"
    config.write_text(text)
    settings.setdefault("policy_config", config)
    running = Gateway(home, config, system or System())
    ready = asyncio.Event()

    def on_ready(told: Ready) -> None:
        running.ready = told
        ready.set()

    given = GatewaySettings.of(
        listen="127.0.0.1:0",
        home=home,
        concurrency=1,
        drain_seconds=0.5,
        allow_anonymous=anonymous,
        log_level="warning",
        **settings,
    )
    running.task = asyncio.create_task(
        run_gateway(given, on_ready=on_ready, link=running.system.link, stop=running.stop)
    )
    waiting = asyncio.create_task(ready.wait())
    await asyncio.wait([running.task, waiting], timeout=30, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    try:
        if running.task.done():
            running.task.result()
        assert ready.is_set(), "the gateway was not ready in time"
        yield running
    finally:
        running.stop.set()
        async with asyncio.timeout(30):
            await asyncio.gather(running.task, return_exceptions=True)


async def eventually(condition: Callable[[], Any], within_s: float = 30.0) -> None:
    """Wait until ``condition`` (a function or coroutine function) is true."""
    async with asyncio.timeout(within_s):
        while True:
            value = condition()
            if asyncio.iscoroutine(value):
                value = await value
            if value:
                return
            await asyncio.sleep(0.005)


def admin_socket() -> Path:
    (found,) = Path(tempfile.gettempdir()).glob("kt-gateway-*/admin.sock")
    return found


async def envoy_admin(path: str) -> bytes:
    """Ask the admin interface of the one gateway of this test."""
    reader, writer = await asyncio.open_unix_connection(str(admin_socket()))
    writer.write(f"GET {path} HTTP/1.1\r\nhost: envoy\r\nconnection: close\r\n\r\n".encode())
    async with asyncio.timeout(10):
        answer = await reader.read()
    writer.close()
    return answer


@asynccontextmanager
async def fake_api(status: int, document: object) -> AsyncIterator[tuple[str, list[Seen]]]:
    """An API that always gives this answer, and the requests it got."""
    provider = Provider()
    requests: list[Seen] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        requests.append(await provider.read(reader))
        await provider.json(writer, f"{status} Status", document)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", requests
    finally:
        server.close()

"""Real sockets: what arrives late, too large or broken, and stopping in the middle of a request."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from libs.common.errors import KtError
from libs.common.protocol import command
from services.api.adapters.http import protocol
from services.api.adapters.http.server import HttpServer, listen
from tests.unit.api.system import System, token_for

WITHIN_S = 30.0
AUTHORIZED = f"Authorization: Bearer {token_for('admin')}\r\n"
POST = f"POST /v1/config-variables HTTP/1.1\r\nHost: a\r\n{AUTHORIZED}Content-Type: application/json\r\n"
GET = f"GET /v1/config-variables/A HTTP/1.1\r\nHost: a\r\n{AUTHORIZED}\r\n"


@dataclass
class Listening:
    system: System
    port: int
    task: asyncio.Task[None]
    writers: list[asyncio.StreamWriter] = field(default_factory=list)

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        self.writers.append(writer)
        return reader, writer

    async def send(self, text: str | bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await self.connect()
        writer.write(text.encode() if isinstance(text, str) else text)
        return reader, writer


@asynccontextmanager
async def listening(trusted_proxies: str = "") -> AsyncIterator[Listening]:
    system = System()
    with listen("127.0.0.1", 0) as bound:
        port = bound.getsockname()[1]
        server = Listening(system, port, asyncio.create_task(HttpServer(system.app, bound, trusted_proxies).run()))
        try:
            yield server
        finally:
            for writer in server.writers:
                writer.close()
            server.task.cancel()
            await asyncio.wait([server.task], timeout=WITHIN_S)


@pytest.fixture
async def server() -> AsyncIterator[Listening]:
    async with listening() as started:
        yield started


async def answer(reader: asyncio.StreamReader) -> tuple[int, dict[str, str], Any]:
    async with asyncio.timeout(WITHIN_S):
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in head[1:] if line)}
        body = await reader.readexactly(int(headers["content-length"]))
    return int(head[0].split(" ")[1]), headers, json.loads(body)


async def closed(reader: asyncio.StreamReader) -> bytes:
    """What comes until the other side closes."""
    async with asyncio.timeout(WITHIN_S):
        try:
            return await reader.read()
        except ConnectionResetError:
            return b""


async def test_requests_sent_ahead_are_answered_in_turn(server: Listening) -> None:
    value = "v" * 60_000
    body = json.dumps({"name": "A", "value": value})
    large = f"{POST}Content-Length: {len(body)}\r\n\r\n{body}"
    reader, writer = await server.send(large * 3 + GET[:-20])
    writer.write(GET[-20:].encode())

    assert [(await answer(reader))[0] for _ in range(4)] == [201, 201, 201, 200]


async def test_several_requests_share_a_connection(server: Listening) -> None:
    reader, writer = await server.send(GET)
    first, headers, _ = await answer(reader)
    writer.write(GET.encode())
    second, _, document = await answer(reader)

    assert (first, second, document["name"]) == (200, 200, "A")
    assert "server" not in headers


@pytest.mark.parametrize(
    "garbage", ["nonsense\r\n\r\n", "GET / HTTP/9.9\r\n\r\n", "\x16\x03\x01\x02", "GET /\xff HTTP/1.1\r\n\r\n"]
)
async def test_what_is_not_http_is_answered_with_a_problem(server: Listening, garbage: str) -> None:
    reader, _ = await server.send(garbage.encode("latin-1"))

    status, headers, document = await answer(reader)

    assert (status, headers["content-type"]) == (400, "application/problem+json")
    assert document["code"] == "invalid_request"
    assert await closed(reader) == b""


@pytest.mark.parametrize(
    "head", ["GET / HTTP/1.1\r\nX: " + "a" * 40_000, "GET /" + "a" * 40_000, "GET / HTTP/1.1\r\n" + "A: b\r\n" * 7000]
)
async def test_a_head_without_end_is_refused(server: Listening, head: str) -> None:
    reader, _ = await server.send(head)

    status, _, document = await answer(reader)

    assert (status, document["code"]) == (400, "invalid_request")
    assert await closed(reader) == b""


@pytest.mark.parametrize("begun", ["", "GET / HT", "GET / HTTP/1.1\r\nHost: a\r\n"])
async def test_a_head_that_does_not_come_closes_the_connection(
    server: Listening, begun: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "HEAD_TIMEOUT_S", 0.1)
    reader, _ = await server.send(begun)

    seen = await closed(reader)

    assert seen == b"" or b"request_timeout" in seen


@pytest.mark.parametrize("framing", ["Content-Length: 100\r\n\r\n{", "Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n"])
async def test_a_body_that_does_not_come_is_answered_and_changes_nothing(
    server: Listening, framing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "BODY_TIMEOUT_S", 0.1)
    reader, _ = await server.send(POST + framing)

    status, _, document = await answer(reader)

    assert (status, document["code"]) == (408, "request_timeout")
    assert await closed(reader) == b""
    assert not server.system.bus.asked


async def test_a_caller_that_sends_too_much_gets_to_see_the_refusal(server: Listening) -> None:
    size = 4 * 1024 * 1024
    reader, writer = await server.send(f"{POST}Content-Length: {size}\r\n\r\n")
    sending = asyncio.create_task(_send(writer, b"x" * size))

    status, _, document = await answer(reader)

    assert (status, document["code"]) == (413, "body_too_large")
    await sending


async def test_a_body_that_nobody_reads_is_cut_off(server: Listening, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "LINGER_S", 0.1)
    reader, _ = await server.send(f"{POST}Content-Length: {10**9}\r\n\r\n" + "x" * 1000)

    status, _, _ = await answer(reader)

    assert status == 413
    assert await closed(reader) == b""


async def test_a_caller_that_asks_first_is_refused_before_it_sends(server: Listening) -> None:
    reader, _ = await server.send(f"{POST}Content-Length: {10**6}\r\nExpect: 100-continue\r\n\r\n")

    status, _, document = await answer(reader)

    assert (status, document["code"]) == (413, "body_too_large")


async def test_an_upgrade_that_is_not_offered_is_ignored(server: Listening) -> None:
    reader, _ = await server.send(GET.replace("\r\n\r\n", "\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"))

    assert (await answer(reader))[0] == 200


async def test_too_many_connections_are_turned_away(server: Listening, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "MAX_CONNECTIONS", 1)
    first, writer = await server.send(GET)
    assert (await answer(first))[0] == 200
    second, _ = await server.connect()

    assert await closed(second) == b""
    writer.write(GET.encode())
    assert (await answer(first))[0] == 200


async def test_stopping_lets_requests_finish(server: Listening) -> None:
    started, release = asyncio.Event(), asyncio.Event()
    call = server.system.bus.call

    async def slow(*args: Any, **options: Any) -> Any:
        started.set()
        await release.wait()
        return await call(*args, **options)

    server.system.bus.call = slow  # type: ignore[method-assign]
    idle, _ = await server.connect()
    reader, _ = await server.send(f'{POST}Content-Length: 27\r\n\r\n{{"name": "A", "value": "v"}}')
    async with asyncio.timeout(WITHIN_S):
        await started.wait()
    server.task.cancel()
    assert await closed(idle) == b""
    release.set()

    status, headers, _ = await answer(reader)

    assert (status, headers["connection"]) == (201, "close")
    assert len(server.system.bus.requests(command.CONFIG_VARIABLE)) == 1
    await asyncio.wait([server.task], timeout=WITHIN_S)
    assert server.task.cancelled()


@pytest.mark.parametrize(("trusted", "seen"), [("", "127.0.0.1"), ("127.0.0.1", "203.0.113.9")])
async def test_a_forwarded_address_is_believed_only_from_a_trusted_proxy(trusted: str, seen: str) -> None:
    async with listening(trusted) as server:
        request = GET.replace("GET", "DELETE").replace("\r\n\r\n", "\r\nX-Forwarded-For: 203.0.113.9\r\n\r\n")
        reader, _ = await server.send(request)
        async with asyncio.timeout(WITHIN_S):
            await reader.readuntil(b"\r\n\r\n")

        assert server.system.bus.requests(command.CONFIG_VARIABLE)[0].caller.source_ip == seen


@pytest.mark.parametrize("host", ["127.0.0.1", "203.0.113.1", "no such host.invalid"])
def test_an_address_that_can_t_be_had_is_told(host: str) -> None:
    with listen("127.0.0.1", 0) as taken:
        taken.listen()
        with pytest.raises(KtError) as caught:
            listen(host, taken.getsockname()[1])

    assert caught.value.code == "misconfigured"
    assert "KEEPTRUSTS_API_PORT" in caught.value.hint


async def _send(writer: asyncio.StreamWriter, body: bytes) -> None:
    try:
        async with asyncio.timeout(WITHIN_S):
            writer.write(body)
            await writer.drain()
    except ConnectionError:
        pass

"""A stand-in for an AI provider on loopback: 401 to a wrong key, JSON or server-sent events to a right one."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

EVENTS = 5


@dataclass(frozen=True, slots=True)
class Seen:
    """One request as the provider got it; ``key`` is what stood in the header it reads."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    key: str


@dataclass
class Provider:
    """``header`` is where it reads the key, after ``prefix``. A stream goes on, event by event, with ``go_on``."""

    header: str = "authorization"
    prefix: str = "Bearer "
    accepted: set[str] = field(default_factory=set)
    seen: list[Seen] = field(default_factory=list)
    remember: bool = True
    hang_up: bool = False
    go_on: asyncio.Event = field(default_factory=asyncio.Event)
    port: int = 0
    scheme: str = "http"

    @property
    def url(self) -> str:
        return f"{self.scheme}://{'localhost' if self.scheme == 'https' else '127.0.0.1'}:{self.port}"

    @property
    def keys(self) -> list[str]:
        return [seen.key for seen in self.seen]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                seen = await self.read(reader)
                if self.hang_up:
                    return
                await self._answer(seen, writer)
        except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError, ssl.SSLError):
            pass
        finally:
            writer.close()

    async def read(self, reader: asyncio.StreamReader) -> Seen:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        line, *rest = head.rstrip("\r\n").split("\r\n")
        headers = {name.lower(): value for name, value in (field.split(": ", 1) for field in rest)}
        body = b""
        if headers.get("transfer-encoding") == "chunked":
            while size := int(await reader.readline(), 16):
                body += (await reader.readexactly(size + 2))[:-2]
            await reader.readexactly(2)
        else:
            body = await reader.readexactly(int(headers.get("content-length", "0")))
        method, path, _ = line.split(" ")
        key = headers.get(self.header, "").removeprefix(self.prefix)
        seen = Seen(method, path, headers, body, key)
        if self.remember:
            self.seen.append(seen)
        return seen

    async def _answer(self, seen: Seen, writer: asyncio.StreamWriter) -> None:
        if seen.key not in self.accepted:
            await self.json(writer, "401 Unauthorized", {"error": {"code": "invalid_api_key"}})
        elif b'"stream": true' in seen.body:
            await self._events(writer)
        else:
            await self.json(writer, "200 OK", {"object": "chat.completion"})

    @staticmethod
    async def json(writer: asyncio.StreamWriter, status: str, document: object) -> None:
        body = json.dumps(document).encode()
        head = f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
        await writer.drain()

    async def _events(self, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        for number in range(EVENTS):
            if number:
                await self.go_on.wait()
            data = f"data: {number}\n\n".encode()
            writer.write(b"%x\r\n%s\r\n" % (len(data), data))
            await writer.drain()
        writer.write(b"0\r\n\r\n")


@asynccontextmanager
async def running(provider: Provider, tls: ssl.SSLContext | None = None) -> AsyncIterator[Provider]:
    server = await asyncio.start_server(provider.serve, "127.0.0.1", 0, ssl=tls)
    provider.port = server.sockets[0].getsockname()[1]
    provider.scheme = "https" if tls else "http"
    try:
        yield provider
    finally:
        provider.go_on.set()
        server.close()

"""Receivers of webhooks on loopback, written with nothing of ours."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from ssl import SSLContext
from typing import Any

Answer = Callable[["Request"], bytes | Awaitable[bytes]]


@dataclass(frozen=True)
class Request:
    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    def is_signed_with(self, secret: str) -> bool:
        """As docs/how-to/subscribe-to-events.md tells a receiver to check."""
        key = base64.b64decode(secret.removeprefix("whsec_"))
        signed = f"{self.headers['webhook-id']}.{self.headers['webhook-timestamp']}.".encode() + self.body
        expected = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
        return f"v1,{expected}" in self.headers["webhook-signature"].split(" ")

    @property
    def document(self) -> Any:
        return json.loads(self.body)


def status(code: int, *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {code} X", "content-length: 0", *headers]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


@dataclass
class Loopback:
    """A server on 127.0.0.1. ``answer`` gives the raw answer; ``requests`` are those that came, in order."""

    port: int = 0
    answer: Answer = lambda _: status(200)
    requests: list[Request] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/kt"

    def ids(self) -> list[str]:
        return [request.headers["webhook-id"] for request in self.requests]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            request = await _read(reader)
            self.requests.append(request)
            answer = self.answer(request)
            writer.write(answer if isinstance(answer, bytes) else await answer)
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


async def _read(reader: asyncio.StreamReader) -> Request:
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    first, *lines = head.split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)}
    method, target, _ = first.split(" ")
    return Request(method, target, headers, await reader.readexactly(int(headers["content-length"])))


@asynccontextmanager
async def loopback(answer: Answer = lambda _: status(200), tls: SSLContext | None = None) -> AsyncIterator[Loopback]:
    receiver = Loopback(answer=answer)
    server = await asyncio.start_server(receiver.serve, "127.0.0.1", 0, ssl=tls)
    receiver.port = server.sockets[0].getsockname()[1]
    try:
        yield receiver
    finally:
        server.close()

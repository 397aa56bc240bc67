"""A small HTTP/1.1 client that shows what is on the wire: status, headers, and a body as it arrives."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Self

TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The ``code`` of an error, of the gateway's form or of a problem document; empty for what is neither."""
        try:
            document = self.json
        except ValueError:
            return ""
        return str(document.get("error", document).get("code", ""))


class Connection:
    """One connection, kept open between requests."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, port: int) -> Self:
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    def close(self) -> None:
        self._writer.close()

    async def request(
        self, method: str, path: str, headers: dict[str, str] | None = None, body: bytes | None = None
    ) -> Answer:
        async with asyncio.timeout(TIMEOUT_S):
            status, answered = await self.begin(method, path, headers, body)
            return Answer(status, answered, b"".join([chunk async for chunk in self.chunks(answered)]))

    async def begin(
        self, method: str, path: str, headers: dict[str, str] | None = None, body: bytes | None = None
    ) -> tuple[int, dict[str, str]]:
        """Send a request and read status and headers of the answer."""
        fields = {"host": "gateway", **(headers or {})}
        if body is not None:
            fields["content-length"] = str(len(body))
        head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        self._writer.write(f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + (body or b""))
        await self._writer.drain()
        line, *rest = (await self._reader.readuntil(b"\r\n\r\n")).decode().rstrip("\r\n").split("\r\n")
        return int(line.split(" ")[1]), {
            name.lower(): value for name, value in (entry.split(": ", 1) for entry in rest)
        }

    async def chunks(self, headers: dict[str, str]) -> AsyncIterator[bytes]:
        """The body, piece by piece as it arrives."""
        if headers.get("transfer-encoding") != "chunked":
            yield await self._reader.readexactly(int(headers.get("content-length", "0")))
            return
        while size := int(await self._reader.readline(), 16):
            yield (await self._reader.readexactly(size + 2))[:-2]
        await self._reader.readexactly(2)


@asynccontextmanager
async def connection(port: int) -> AsyncIterator[Connection]:
    opened = await Connection.open(port)
    try:
        yield opened
    finally:
        opened.close()


async def request(
    port: int, method: str, path: str, headers: dict[str, str] | None = None, body: bytes | None = None
) -> Answer:
    async with connection(port) as opened:
        return await opened.request(method, path, headers, body)

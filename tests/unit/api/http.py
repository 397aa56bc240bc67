"""A caller of an ASGI application, in process."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from starlette.types import ASGIApp, Message

Headers = Mapping[str, str] | Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Answer:
    """``everything`` is each byte the caller gets to see."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The code of a problem document."""
        assert self.headers["content-type"] == "application/problem+json"
        document = self.json()
        assert document["status"] == self.status
        return str(document["code"])

    @property
    def everything(self) -> bytes:
        return b"\n".join([*(f"{k}: {v}".encode() for k, v in self.headers.items()), self.body])


async def request(
    app: ASGIApp, method: str, target: str, headers: Headers = (), body: bytes | Sequence[bytes] = b""
) -> Answer:
    """Ask once. ``body`` in several parts arrives in chunks, without a Content-Length."""
    path, _, query = target.partition("?")
    parts = [body] if isinstance(body, bytes) else list(body)
    pairs = list(headers.items()) if isinstance(headers, Mapping) else list(headers)
    raw = [(name.lower().encode(), value.encode("latin-1")) for name, value in pairs]
    if isinstance(body, bytes) and body:
        raw.append((b"content-length", str(len(body)).encode()))
    sent: list[Message] = []

    async def receive() -> Message:
        part = parts.pop(0) if parts else b""
        return {"type": "http.request", "body": part, "more_body": bool(parts)}

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": raw,
        "client": ("192.0.2.7", 50000),
        "server": ("127.0.0.1", 8080),
    }
    await app(scope, receive, send)
    start = sent[0]
    received = {name.decode(): value.decode("latin-1") for name, value in start["headers"]}
    return Answer(start["status"], received, b"".join(m.get("body", b"") for m in sent[1:]))

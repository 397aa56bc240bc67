"""An API that answers what a test tells it to, and remembers what it was asked."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit


@dataclass(frozen=True)
class Asked:
    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: Any


@dataclass(frozen=True)
class Reply:
    """``raw`` is sent instead of ``document`` when given; without ``hang_up`` the connection stays."""

    status: int = 200
    document: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    raw: bytes | None = None
    hang_up: bool = False


Answer = Reply | Callable[[Asked], Reply]


class FakeApi:
    """``api.on("GET", "/v1/gateways", Reply(...))``. A list of answers is used up one by one; the last one stays."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.connections = 0
        self._answers: dict[tuple[str, str], list[Answer]] = {}
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def on(self, method: str, path: str, *answers: Answer) -> None:
        self._answers[method, path] = list(answers)

    def problem(self, method: str, path: str, status: int, code: str, **members: Any) -> None:
        document = {"type": f"urn:keeptrusts:error:{code}", "title": "", "status": status, "code": code, **members}
        self.on(method, path, Reply(status, document, {"X-Request-Id": "request-1"}))

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def reply(self, asked: Asked) -> Reply:
        self.asked.append(asked)
        answers = self._answers.get((asked.method, asked.path))
        if not answers:
            return Reply(404, {"code": "not_found", "detail": "There is no such route.", "hint": ""})
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        return answer if isinstance(answer, Reply) else answer(asked)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        return type("Handler", (_Handler,), {"api": self})


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    api: FakeApi

    def setup(self) -> None:
        super().setup()
        self.api.connections += 1

    def answer(self) -> None:
        parts = urlsplit(self.path)
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        reply = self.api.reply(
            Asked(
                method=self.command,
                path=parts.path,
                query={name: values[0] for name, values in parse_qs(parts.query).items()},
                headers={name.lower(): value for name, value in self.headers.items()},
                body=json.loads(raw) if raw else None,
            )
        )
        if reply.hang_up:
            self.close_connection = True
            return
        content = reply.raw if reply.raw is not None else json.dumps(reply.document).encode()
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content) if reply.status != 204 else 0))
        self.end_headers()
        if reply.status != 204:
            self.wfile.write(content)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer  # noqa: N815

    def log_message(self, *_: Any) -> None:
        pass

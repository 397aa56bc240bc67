"""A stand-in for an AI provider: answers 401 to a wrong key, and remembers which keys it saw."""

from __future__ import annotations

import json
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Provider:
    """Listens on loopback. ``accepted`` are the keys it honours at the moment."""

    def __init__(self, *accepted: str) -> None:
        self.accepted = set(accepted)
        self.seen: Counter[str] = Counter()
        self._lock = threading.Lock()
        provider = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                key = self.headers.get("Authorization", "").removeprefix("Bearer ")
                provider.answer(self, key)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def answer(self, handler: BaseHTTPRequestHandler, key: str) -> None:
        with self._lock:
            self.seen[key] += 1
        good = key in self.accepted
        body = {"object": "chat.completion"} if good else {"error": {"code": "invalid_api_key"}}
        raw = json.dumps(body).encode()
        handler.send_response(200 if good else 401)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", str(len(raw)))
        handler.end_headers()
        handler.wfile.write(raw)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

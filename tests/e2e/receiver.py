"""A receiver of webhooks as somebody else would write it, with the standard library alone."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Delivery:
    headers: dict[str, str]
    body: bytes

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def event(self) -> Any:
        return json.loads(self.body)["data"]

    def is_signed_with(self, secret: str) -> bool:
        """As docs/how-to/subscribe-to-events.md tells a receiver to check, the age apart."""
        key = base64.b64decode(secret.removeprefix("whsec_"))
        content = f"{self.id}.{self.headers['webhook-timestamp']}.".encode() + self.body
        expected = "v1," + base64.b64encode(hmac.digest(key, content, hashlib.sha256)).decode()
        return expected in self.headers["webhook-signature"].split()


class Receiver:
    """Listens on 127.0.0.1. ``answer`` gives the status of an answer; it may block, in a thread of its own."""

    def __init__(self, answer: Callable[[Delivery], int] = lambda _: 204) -> None:
        self.answer = answer
        self.got: list[Delivery] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                delivery = Delivery({name.lower(): value for name, value in self.headers.items()}, body)
                receiver.got.append(delivery)
                status = receiver.answer(delivery)
                try:
                    self.send_response(status)
                    self.end_headers()
                except OSError:
                    return  # whoever asked has died

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/kt"

    def ids(self, event_type: str = "") -> list[str]:
        """Of what arrived, in that order."""
        return [d.id for d in list(self.got) if not event_type or d.event["type"] == event_type]

    def first(self, event_type: str, subject: str) -> Delivery | None:
        """The first delivery of such an event."""
        fits = (d for d in list(self.got) if (d.event["type"], d.event["subject"]) == (event_type, subject))
        return next(fits, None)

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

"""HTTP/1.1 connections with the bounds that uvicorn leaves open: on the time a request takes to arrive, the size of
its head, what follows its answer, the number of connections."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from libs.common.errors import KtError
from services.api.adapters.http.problems import MEDIA_TYPE, problem_response

HEAD_TIMEOUT_S: Final = 10.0
BODY_TIMEOUT_S: Final = 15.0
LINGER_S: Final = 2.0
"""How long the rest of a body is let in after the answer, so that a caller who is still sending gets to see it."""
MAX_HEAD_BYTES: Final = 32 * 1024
MAX_CONNECTIONS: Final = 1024


class BoundedProtocol(HttpToolsProtocol):
    """Answers what is late or too large with a problem document, and closes the connection."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._timer: asyncio.TimerHandle | None = None
        self._in_head = True
        self._arriving = False
        self._ended = False
        self._head_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > MAX_CONNECTIONS:
            transport.close()
        else:
            self._arrive_within(HEAD_TIMEOUT_S)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._ended = False
        super().data_received(data)
        # What came with the end of another request is not counted: how much of it is this head can't be told.
        self._head_bytes += len(data) if self._in_head and not self._ended else 0
        if self._head_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
            self.send_400_response(f"The head of the request is larger than {MAX_HEAD_BYTES:,} bytes.")

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head = self._arriving = True
        self._arrive_within(HEAD_TIMEOUT_S)

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._head_bytes = 0
        self._arrive_within(BODY_TIMEOUT_S)
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._arriving = False
        self._ended = True
        self._stop_timer()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._arriving and not self.transport.is_closing():
            self._arrive_within(LINGER_S)

    def send_400_response(self, msg: str) -> None:
        """For what is not HTTP, and so never reaches the application."""
        self._refuse(KtError("invalid_request", msg), HTTPStatus.BAD_REQUEST)

    def _arrive_within(self, seconds: float) -> None:
        self._stop_timer()
        self._timer = self.loop.call_later(seconds, self._late)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _late(self) -> None:
        self._timer = None
        if self._arriving and not self._is_answering() and not self.transport.is_closing():
            error = KtError("request_timeout", "The request did not arrive in time.")
            self._refuse(error, HTTPStatus.REQUEST_TIMEOUT)
        self.transport.close()

    def _is_answering(self) -> bool:
        """Whether an answer is under way, to this request or to the one before its head; another would break it."""
        cycle: Any = self.cycle
        return cycle is not None and (not cycle.response_complete if self._in_head else cycle.response_started)

    def _refuse(self, error: KtError, status: HTTPStatus) -> None:
        body = bytes(problem_response(error, "").body)
        head = (
            f"HTTP/1.1 {status.value} {status.phrase}\r\ncontent-type: {MEDIA_TYPE}\r\n"
            f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        self.transport.close()

"""A provider that answers at once, and remembers when each key came first and how far apart requests were."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Any, cast

from bench.http_client import message_size
from bench.worker import serve

_BODY = b'{"object":"chat.completion","choices":[{"message":{"role":"assistant","content":"Hello."}}]}'
_ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (len(_BODY), _BODY)
_KEY = b"\r\nauthorization: bearer "

_first_seen: dict[str, int] = {}
_awaited: dict[str, asyncio.Future[None]] = {}
_gaps: list[int] = []
_watching = False


class Provider(asyncio.Protocol):
    """Speaks as much HTTP/1.1 as a proxy needs that keeps connections open."""

    _last = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by inheritance
        self._received = b""

    def data_received(self, data: bytes) -> None:
        self._received += data
        while (size := message_size(self._received)) is not None and len(self._received) >= size:
            if _watching:
                self._watch(self._received[:size])
            self._received = self._received[size:]
            self._transport.write(_ANSWER)

    @staticmethod
    def _watch(message: bytes) -> None:
        now = time.monotonic_ns()
        at = message.lower().find(_KEY)
        key = message[at + len(_KEY) : message.find(b"\r\n", at + 2)].decode("latin-1") if at >= 0 else ""
        if key not in _first_seen:
            _first_seen[key] = now
            if key in _awaited:
                _awaited[key].set_result(None)
        if Provider._last:
            _gaps.append(now - Provider._last)
        Provider._last = now


async def start(*, watch: bool) -> int:
    """Listen, and return the port. With ``watch`` keys and times are kept."""
    global _watching  # noqa: PLW0603
    _watching = watch
    server = await asyncio.get_running_loop().create_server(Provider, "127.0.0.1", 0)
    return int(server.sockets[0].getsockname()[1])


async def seen(key: str, within_s: float) -> int:
    """When a request with ``key`` came first, in nanoseconds of the monotonic clock; 0 if none comes in time."""
    if key not in _first_seen:
        arrival = _awaited[key] = asyncio.get_running_loop().create_future()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(arrival, within_s)
        del _awaited[key]
    return _first_seen.get(key, 0)


async def gaps() -> list[int]:
    """Nanoseconds between requests, since the last time this was asked."""
    taken = list(_gaps)
    _gaps.clear()
    return taken


TASKS: dict[str, Any] = {"start": start, "seen": seen, "gaps": gaps}

if __name__ == "__main__":
    serve(TASKS)

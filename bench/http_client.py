"""A lean HTTP/1.1 client for load: keep-alive connections, no headers parsed but the length."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import cast

PLACE = b"@NUMBER@"
"""Stands in a request for a number that no other request has; of the same width, so lengths stay right."""

LOST = 0
"""Stands for a status where the connection was lost before an answer."""

_LENGTH = b"\r\ncontent-length:"
_PATIENCE_S = 30.0


@dataclass(slots=True)
class Load:
    """What is sent, and what came back."""

    request: bytes
    deadline: float
    interval: float
    """Seconds between two requests of one connection; 0 sends the next one at once."""

    numbers: Iterator[int]
    statuses: Counter[int] = field(default_factory=Counter)
    latencies: list[float] = field(default_factory=list)
    """Seconds from when a request was due, not from when it was sent: a client that waits is not to hide a delay."""

    def next_request(self) -> bytes:
        return self.request.replace(PLACE, b"%08d" % next(self.numbers))


class Connection(asyncio.Protocol):
    """Sends requests of a load one after the other until its deadline; then :attr:`done` is set."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._loop = asyncio.get_running_loop()
        self._received = b""
        self._waits = False
        self._due = 0.0
        self.done: asyncio.Future[None] = self._loop.create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by inheritance
        self._due = time.monotonic()  # the loop's own time has whole milliseconds
        self._send()

    def data_received(self, data: bytes) -> None:
        self._received = self._received + data if self._received else data
        size = message_size(self._received)
        if size is None or len(self._received) < size:
            return
        self._load.statuses[int(self._received[9:12])] += 1
        if self._load.interval:
            self._load.latencies.append(time.monotonic() - self._due)
        self._received = self._received[size:]
        self._waits = False
        self._due += self._load.interval
        pause = self._due - time.monotonic()
        if self._load.interval and pause > 0:
            self._loop.call_later(pause, self._send)
        else:
            self._send()

    def connection_lost(self, _: Exception | None) -> None:
        if self._waits:
            self._load.statuses[LOST] += 1
        self._finish()

    def _send(self) -> None:
        if time.monotonic() < self._load.deadline:
            self._waits = True
            self._transport.write(self._load.next_request())
            return
        self._transport.close()
        self._finish()

    def _finish(self) -> None:
        if not self.done.done():
            self.done.set_result(None)


def message_size(received: bytes) -> int | None:
    """Bytes of the first message, head and body; None while its head is not complete.

    Raises:
        ValueError: the message does not say its length.
    """
    end = received.find(b"\r\n\r\n")
    if end < 0:
        return None
    head = received[:end].lower()
    at = head.find(_LENGTH)
    if at < 0:
        if head.startswith(b"http/1.1 204"):
            return end + 4
        raise ValueError("an HTTP message without content-length")
    line_end = head.find(b"\r\n", at + 2)
    return end + 4 + int(head[at + len(_LENGTH) : line_end if line_end > 0 else end])


@dataclass(frozen=True, slots=True)
class Run:
    """A load under way."""

    load: Load
    connections: Sequence[Connection]

    async def end(self) -> Counter[int]:
        """Wait until the deadline and the last answers; how often each status came."""
        left = max(0.0, self.load.deadline - time.monotonic()) + _PATIENCE_S
        _, pending = await asyncio.wait([connection.done for connection in self.connections], timeout=left)
        self.load.statuses[LOST] += len(pending)
        return self.load.statuses


async def start(
    host: str,
    port: int,
    request: bytes,
    *,
    connections: int,
    seconds: float,
    rate: float = 0.0,
    numbers: Iterator[int] | None = None,
) -> Run:
    """Send ``request`` over so many connections for so many seconds, as fast as it goes or ``rate`` a second."""
    loop = asyncio.get_running_loop()
    interval = connections / rate if rate else 0.0
    load = Load(request, time.monotonic() + seconds, interval, numbers or itertools.count())
    made: list[Connection] = []
    for _ in range(connections):
        _, connection = await loop.create_connection(lambda: Connection(load), host, port)
        made.append(connection)
        await asyncio.sleep(interval / connections)
    return Run(load, made)

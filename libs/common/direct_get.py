"""Reading a stream by JetStream Direct Get (NATS ADR-31): no consumer, answered by any replica."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final, NamedTuple

import orjson
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import Error as NatsError

from libs.common.errors import KtError
from libs.common.messaging.connection import ensure_connected

READ_TIMEOUT_S: Final = 5.0
_BATCH: Final = 1000


class StoredMessage(NamedTuple):
    """A message as the stream holds it. ``time_ns`` is the server's time of storing, Unix nanoseconds."""

    subject: str
    sequence: int
    body: bytes
    time_ns: int = 0


class DirectReader:
    """Point reads and whole-aggregate loads. One wildcard subscription carries all batch replies."""

    def __init__(self, nc: Client, stream: str) -> None:
        self._nc = nc
        self._api = f"$JS.API.DIRECT.GET.{stream}"
        self._prefix = ""
        self._waiting: dict[str, asyncio.Queue[Msg]] = {}
        self._tokens = itertools.count()
        self._subscription: Subscription | None = None
        self._lock = asyncio.Lock()

    async def last(self, subject: str) -> StoredMessage | None:
        """The newest message of a subject, or None."""
        return await self._one({"last_by_subj": subject})

    async def at(self, sequence: int) -> StoredMessage | None:
        """The message with this sequence; None when the stream does not hold it (yet)."""
        return await self._one({"seq": sequence})

    async def _one(self, query: dict[str, str | int]) -> StoredMessage | None:
        ensure_connected(self._nc)
        try:
            message = await self._nc.request(self._api, orjson.dumps(query), timeout=READ_TIMEOUT_S)
        except (NatsError, TimeoutError):
            raise _unreadable() from None
        if message.headers and "Status" in message.headers:
            if message.headers["Status"] == "404":
                return None
            raise _unreadable()
        return _stored(message)

    async def all(self, subject: str, after: int = 0) -> list[StoredMessage]:
        """Every message of one subject with a sequence above ``after``, oldest first.

        Raises:
            KtError: ``unavailable`` when the stream does not answer in time.
        """
        ensure_connected(self._nc)
        found: list[StoredMessage] = []
        pending = 1
        try:
            async with self._replies() as (inbox, queue), asyncio.timeout(READ_TIMEOUT_S):
                while pending:
                    query = {"batch": _BATCH, "seq": after + 1, "next_by_subj": subject}
                    await self._nc.publish(self._api, orjson.dumps(query), reply=inbox)
                    pending, after = await self._page(queue, found, after)
        except (NatsError, TimeoutError):
            raise _unreadable() from None
        return found

    @staticmethod
    async def _page(queue: asyncio.Queue[Msg], found: list[StoredMessage], after: int) -> tuple[int, int]:
        while True:
            message = await queue.get()
            headers = message.headers or {}
            status = headers.get("Status")
            if status == "204":
                return int(headers.get("Nats-Num-Pending", "0")), after
            if status == "404":
                return 0, after
            if status is not None:
                raise NatsError
            stored = _stored(message)
            found.append(stored)
            after = stored.sequence

    @asynccontextmanager
    async def _replies(self) -> AsyncIterator[tuple[str, asyncio.Queue[Msg]]]:
        await self._subscribe()
        token = str(next(self._tokens))
        queue = self._waiting[token] = asyncio.Queue()
        try:
            yield f"{self._prefix}.{token}", queue
        finally:
            del self._waiting[token]

    async def _subscribe(self) -> None:
        async with self._lock:
            if self._subscription is None:
                self._prefix = self._nc.new_inbox()
                self._subscription = await self._nc.subscribe(f"{self._prefix}.*", cb=self._dispatch)

    async def _dispatch(self, message: Msg) -> None:
        queue = self._waiting.get(message.subject.rpartition(".")[2])
        if queue is not None:
            queue.put_nowait(message)


def _stored(message: Msg) -> StoredMessage:
    headers = message.headers or {}
    return StoredMessage(headers["Nats-Subject"], int(headers["Nats-Sequence"]), message.data)


def _unreadable() -> KtError:
    return KtError("unavailable", "The event stream did not answer in time.", "Try again in a few seconds.")

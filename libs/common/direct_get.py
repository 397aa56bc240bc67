"""Reading a stream without a consumer: by JetStream Direct Get (NATS ADR-31), checked against the stream's leader.

Any replica may answer a Direct Get. On a stream with three, one read in four right behind an acknowledged write was
answered by one that did not have it yet; the leader always has it.
"""

from __future__ import annotations

import asyncio
import base64
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
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
_BEHIND_S: Final = 0.005
"""Pause before a replica that was behind is asked again."""

_NOT_FOUND: Final = 404


class StoredMessage(NamedTuple):
    """A message as the stream holds it. ``time_ns`` is the server's time of storing, Unix nanoseconds."""

    subject: str
    sequence: int
    body: bytes
    time_ns: int = 0


class DirectReader:
    """Point reads and whole-aggregate loads. One wildcard subscription carries all batch replies.

    Every method raises KtError ``unavailable`` when the stream does not answer in time.
    """

    def __init__(self, nc: Client, stream: str) -> None:
        self._nc = nc
        self._api = f"$JS.API.DIRECT.GET.{stream}"
        self._leader = f"$JS.API.STREAM.MSG.GET.{stream}"
        self._prefix = ""
        self._waiting: dict[str, asyncio.Queue[Msg]] = {}
        self._tokens = itertools.count()
        self._subscription: Subscription | None = None
        self._lock = asyncio.Lock()

    async def last(self, subject: str) -> StoredMessage | None:
        """The newest message of a subject, or None, as the leader has it: no acknowledged write is missing."""
        ensure_connected(self._nc)
        query = orjson.dumps({"last_by_subj": subject})
        try:
            answer = orjson.loads((await self._nc.request(self._leader, query, timeout=READ_TIMEOUT_S)).data)
        except (NatsError, TimeoutError):
            raise _unreadable() from None
        if "error" in answer:
            if answer["error"].get("code") == _NOT_FOUND:
                return None
            raise _unreadable()
        message = answer["message"]
        return StoredMessage(message["subject"], message["seq"], base64.b64decode(message.get("data", "")))

    async def at(self, sequence: int) -> StoredMessage | None:
        """The message with this sequence; None when the replica that answers does not hold it (yet)."""
        ensure_connected(self._nc)
        query = orjson.dumps({"seq": sequence})
        try:
            message = await self._nc.request(self._api, query, timeout=READ_TIMEOUT_S)
        except (NatsError, TimeoutError):
            raise _unreadable() from None
        if message.headers and "Status" in message.headers:
            if message.headers["Status"] == str(_NOT_FOUND):
                return None
            raise _unreadable()
        return _stored(message)

    async def all(self, subject: str, after: int = 0) -> list[StoredMessage]:
        """Every message of one subject with a sequence above ``after``, oldest first: none is missing that was
        acknowledged before the call."""
        try:
            async with asyncio.timeout(READ_TIMEOUT_S):
                found = await self._held(subject, after)
                newest = await self.last(subject)
                while newest is not None and newest.sequence > (after := found[-1].sequence if found else after):
                    await asyncio.sleep(_BEHIND_S)
                    found += await self._held(subject, after)
        except (NatsError, TimeoutError):
            raise _unreadable() from None
        return found

    async def between(self, subject: str, first: int, last: int) -> list[StoredMessage]:
        """The messages of a subject, which may hold wildcards, from ``first`` to ``last``, with their times. What is
        missing or can't be read is left out."""
        found: list[StoredMessage] = []
        try:
            async with asyncio.timeout(READ_TIMEOUT_S), self._replies() as (inbox, queue):
                ensure_connected(self._nc)
                pending, after = 1, first - 1
                while pending and after < last:
                    query = {"batch": min(_BATCH, last - after), "seq": after + 1, "next_by_subj": subject}
                    await self._nc.publish(self._api, orjson.dumps(query), reply=inbox)
                    pending, after = await self._page(queue, found, after)
        except (NatsError, TimeoutError):
            raise _unreadable() from None
        return [message for message in found if message.sequence <= last]

    async def _held(self, subject: str, after: int) -> list[StoredMessage]:
        """What the replica that answers holds; it may be behind, but leaves nothing out in between."""
        ensure_connected(self._nc)
        found: list[StoredMessage] = []
        pending = 1
        async with self._replies() as (inbox, queue):
            while pending:
                query = {"batch": _BATCH, "seq": after + 1, "next_by_subj": subject}
                await self._nc.publish(self._api, orjson.dumps(query), reply=inbox)
                pending, after = await self._page(queue, found, after)
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
    time_ns = nanoseconds(headers["Nats-Time-Stamp"])
    return StoredMessage(headers["Nats-Subject"], int(headers["Nats-Sequence"]), message.data, time_ns)


def nanoseconds(text: str) -> int:
    """Unix nanoseconds of a time in RFC 3339 with up to nine decimals, as the server writes it."""
    seconds, _, fraction = text.removesuffix("Z").partition(".")
    return int(datetime.fromisoformat(f"{seconds}+00:00").timestamp()) * 10**9 + int(fraction.ljust(9, "0") or 0)


def _unreadable() -> KtError:
    return KtError("unavailable", "The event stream did not answer in time.", "Try again in a few seconds.")

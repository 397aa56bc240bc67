"""Following a stream in order: a pull consumer whose sequences are checked to be contiguous.

It pulls, because then no more arrives than was asked for. nats-py confirms the flow control of an ordered push
consumer on arrival, so a reader slower than the server would be sent the whole stream, and lose what does not fit.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import orjson
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

from libs.common.direct_get import StoredMessage
from libs.common.errors import KtError
from libs.common.messaging.bulk import BulkClient

log = logging.getLogger(__name__)

WINDOW: Final = 8192
"""Messages asked for and not yet handed on, at most."""

API_TIMEOUT_S: Final = 5.0

_REQUEST_S: Final = 20.0
"""How long the server keeps a request for more messages."""

_LATE_S: Final = 5.0
_INACTIVE_S: Final = 60.0
_EXPIRED: Final = "408"


class StreamGap(Exception):
    """A sequence was skipped, or the consumer is gone: reading has to start again behind the last one handled."""


class OrderedReader:
    """Messages of a stream from ``start`` on, each with the sequence that follows the one before."""

    def __init__(self, nc: Client, source: str, inbox: str, start: int) -> None:
        self._nc = nc
        self._source = source
        self._inbox = inbox
        self._next = start
        self._arrived: deque[StoredMessage] = deque()
        self._waiting = asyncio.Event()
        self._asked = 0
        self._answer_due = 0.0
        self._broken = False

    async def batch(self, limit: int, wait_s: float) -> list[StoredMessage]:
        """Up to ``limit`` messages: waits ``wait_s`` for the first and takes what has arrived behind it.

        Raises:
            StreamGap: the messages before the gap have been returned by an earlier call.
        """
        await self._ask()
        if not self._arrived and not self._broken:
            self._waiting.clear()
            try:
                async with asyncio.timeout(wait_s):  # wait_for can lose a cancellation before 3.12
                    await self._waiting.wait()
            except TimeoutError:
                return []
        messages = self._take(limit)
        if not messages and self._broken:
            raise StreamGap
        await self._ask()
        return messages

    def receive(self, subject: bytes, reply: bytes, body: bytes) -> None:
        """A message of the stream: its sequence and time are in the reply subject (NATS ADR-15),
        ``$JS.ACK.….<consumer>.<deliveries>.<sequence>.<consumer's sequence>.<time>.<pending>``."""
        tokens = reply.rsplit(b".", 4)
        self._asked -= 1
        self._arrived.append(StoredMessage(subject.decode(), int(tokens[1]), body, int(tokens[3])))
        if not self._waiting.is_set():
            self._waiting.set()

    async def receive_message(self, message: Msg) -> None:
        """A message of the stream, or a status: that has no reply subject and is about a request for messages."""
        if message.reply:
            self.receive(message.subject.encode(), message.reply.encode(), message.data)
            return
        headers = message.headers or {}
        self._asked -= int(headers.get("Nats-Pending-Messages", "0"))
        self._broken = self._broken or headers.get("Status") != _EXPIRED
        self._waiting.set()

    def _take(self, limit: int) -> list[StoredMessage]:
        messages: list[StoredMessage] = []
        arrived, following = self._arrived, self._next
        while arrived and len(messages) < limit:
            if arrived[0].sequence != following:
                self._broken = True
                arrived.clear()
                break
            messages.append(arrived.popleft())
            following += 1
        self._next = following
        return messages

    async def _ask(self) -> None:
        now = asyncio.get_running_loop().time()
        if self._asked > 0 and now > self._answer_due:
            self._broken = True
        if self._broken or self._asked + len(self._arrived) > WINDOW // 2:
            return
        request = {"batch": WINDOW // 2, "expires": int(_REQUEST_S * 1e9)}
        self._asked += WINDOW // 2
        self._answer_due = now + _REQUEST_S + _LATE_S
        await self._nc.publish(self._source, orjson.dumps(request), reply=self._inbox)


@asynccontextmanager
async def read_stream(nc: Client, stream: str, subject: str, start: int) -> AsyncIterator[OrderedReader]:
    """Read the messages of ``subject`` from sequence ``start`` on, which have to be all of the stream's."""
    js, inbox = nc.jetstream(timeout=API_TIMEOUT_S), nc.new_inbox()
    config = ConsumerConfig(
        deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
        opt_start_seq=start,
        filter_subject=subject,
        ack_policy=AckPolicy.NONE,
        inactive_threshold=_INACTIVE_S,
        mem_storage=True,
        num_replicas=1,
    )
    consumer = (await js.add_consumer(stream, config)).name
    reader = OrderedReader(nc, f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}", inbox, start)
    if isinstance(nc, BulkClient):
        subscription = await nc.subscribe_bulk(inbox, reader.receive, reader.receive_message)
    else:
        subscription = await nc.subscribe(inbox, cb=reader.receive_message)
    try:
        yield reader
    finally:
        try:
            async with asyncio.timeout(2):
                await subscription.unsubscribe()
                await js.delete_consumer(stream, consumer)
        except (NatsError, TimeoutError):
            log.info("stream_reader.close_failed")


async def stream_range(nc: Client, stream: str) -> tuple[int, int]:
    """First and last sequence of a stream; ``(1, 0)`` while it is empty.

    Raises:
        KtError: ``unavailable``.
    """
    try:
        info = await nc.jetstream(timeout=API_TIMEOUT_S).stream_info(stream)
    except (NatsError, TimeoutError):
        raise KtError(
            "unavailable", f"The stream {stream} does not answer.", "`kt status` shows what runs."
        ) from None
    return max(info.state.first_seq, 1), info.state.last_seq

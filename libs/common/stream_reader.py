"""Following a stream in order: an ordered consumer whose sequences are checked to be contiguous."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.js.api import ConsumerConfig, DeliverPolicy

from libs.common.direct_get import StoredMessage
from libs.common.errors import KtError

log = logging.getLogger(__name__)

BUFFER: Final = 8192
"""Messages read ahead; then the ordered consumer's flow control holds the server back."""

API_TIMEOUT_S: Final = 10.0


class StreamGap(Exception):
    """A sequence was skipped: reading has to start again behind the last one that was handled."""


class OrderedReader:
    """Messages of a stream from ``start`` on, each with the sequence that follows the one before."""

    def __init__(self, queue: asyncio.Queue[Msg], start: int) -> None:
        self._queue = queue
        self._next = start
        self._skipped = False

    async def batch(self, limit: int, wait_s: float) -> list[StoredMessage]:
        """Up to ``limit`` messages: waits ``wait_s`` for the first and takes what has arrived behind it.

        Raises:
            StreamGap: the messages before the gap have been returned by an earlier call.
        """
        if self._skipped:
            raise StreamGap
        try:
            first = await asyncio.wait_for(self._queue.get(), wait_s)
        except TimeoutError:
            return []
        messages: list[StoredMessage] = []
        message: Msg | None = first
        while message is not None:
            stored = stored_message(message)
            if stored.sequence != self._next:
                if stored.sequence > self._next:
                    self._skipped = True
                    break
            else:
                messages.append(stored)
                self._next += 1
            message = None if len(messages) >= limit or self._queue.empty() else self._queue.get_nowait()
        if self._skipped and not messages:
            raise StreamGap
        return messages


@asynccontextmanager
async def read_stream(nc: Client, stream: str, subject: str, start: int) -> AsyncIterator[OrderedReader]:
    """Open an ordered consumer that begins with sequence ``start``."""
    queue: asyncio.Queue[Msg] = asyncio.Queue(BUFFER)
    config = ConsumerConfig(deliver_policy=DeliverPolicy.BY_START_SEQUENCE, opt_start_seq=start)
    subscription = await nc.jetstream(timeout=API_TIMEOUT_S).subscribe(
        subject, stream=stream, ordered_consumer=True, config=config, cb=queue.put
    )
    try:
        yield OrderedReader(queue, start)
    finally:
        try:
            async with asyncio.timeout(2):
                await subscription.unsubscribe()
        except (NatsError, TimeoutError):
            log.info("stream_reader.unsubscribe_failed")


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


def stored_message(message: Msg) -> StoredMessage:
    """Sequence and time come from the reply subject: ``$JS.ACK.….<consumer>.<n>.<sseq>.<cseq>.<ns>.<pending>``."""
    tokens = message.reply.split(".")
    return StoredMessage(message.subject, int(tokens[-4]), message.data, int(tokens[-2]))

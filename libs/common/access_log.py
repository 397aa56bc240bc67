"""Access events: durable before the answer leaves, grouped so that many share one flush to disk."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import orjson
from nats.aio.client import Client
from nats.errors import Error as NatsError

from libs.common.errors import KtError
from libs.common.messaging.connection import ensure_connected

log = logging.getLogger(__name__)

MAX_BATCH: Final = 1000
"""Messages in one atomic batch: what the server allows (NATS ADR-50). A batch costs 3 ms whatever its size."""

MAX_WAITING: Final = 20_000
"""Events that may wait; beyond it callers are refused, not queued without bound."""

ACK_TIMEOUT_S: Final = 5.0


@dataclass(slots=True)
class _Entry:
    messages: Sequence[tuple[str, bytes]]
    done: asyncio.Future[None]


class AccessLog:
    """Group commit over atomic batches: while one batch is being stored the next one collects.

    Entries of one :meth:`record` call are stored together or not at all (up to 500 of them).
    """

    def __init__(self, nc: Client) -> None:
        self._nc = nc
        self._waiting: list[_Entry] = []
        self._size = 0
        self._flusher: asyncio.Task[None] | None = None

    async def record(self, messages: Sequence[tuple[str, bytes]]) -> None:
        """Store ``(subject, body)`` pairs; returns when they are durable.

        Raises:
            KtError: ``overloaded`` when too many wait, ``unavailable`` when the stream did not confirm. The caller
                then answers with the error: nothing is handed out that is not on record.
        """
        if not messages:
            return
        ensure_connected(self._nc)
        if self._size + len(messages) > MAX_WAITING:
            raise KtError("overloaded", "Too many access records wait to be stored.", "Try again in a moment.")
        entry = _Entry(messages, asyncio.get_running_loop().create_future())
        self._waiting.append(entry)
        self._size += len(messages)
        if self._flusher is None or self._flusher.done():
            self._flusher = asyncio.create_task(self._flush())
        await entry.done

    async def _flush(self) -> None:
        while self._waiting:
            entries = self._take()
            batch = [message for entry in entries for message in entry.messages]
            try:
                for start in range(0, len(batch), MAX_BATCH):
                    await self._store(batch[start : start + MAX_BATCH])
            except (NatsError, TimeoutError, KtError, ValueError) as error:
                log.warning("access_log.failed", extra={"kind": type(error).__name__, "events": len(batch)})
                _fail(entries)
            else:
                _succeed(entries)
            finally:
                self._size -= len(batch)

    def _take(self) -> list[_Entry]:
        taken, size = [self._waiting[0]], len(self._waiting[0].messages)
        while len(taken) < len(self._waiting):
            entry = self._waiting[len(taken)]
            if size + len(entry.messages) > MAX_BATCH:
                break
            taken.append(entry)
            size += len(entry.messages)
        del self._waiting[: len(taken)]
        return taken

    async def _store(self, batch: Sequence[tuple[str, bytes]]) -> None:
        ensure_connected(self._nc)
        *head, (last_subject, last_body) = batch
        headers: dict[str, str] | None = None
        if head:
            batch_id = uuid.uuid4().hex
            await self._nc._send_command(_frames(batch_id, head))  # noqa: SLF001
            headers = {
                "Nats-Batch-Id": batch_id,
                "Nats-Batch-Sequence": str(len(batch)),
                "Nats-Batch-Commit": "1",
            }
        reply = await self._nc.request(last_subject, last_body, timeout=ACK_TIMEOUT_S, headers=headers)
        ack = orjson.loads(reply.data)
        if "error" in ack:
            raise KtError("unavailable", "The access stream refused the records.")


def _frames(batch_id: str, messages: Sequence[tuple[str, bytes]]) -> bytes:
    """Publishes of all but the last message in one piece (``HPUB``, NATS client protocol).

    Made here because nats-py checks and encodes the headers of each message anew, which takes longer than the rest.
    """
    header = f"NATS/1.0\r\nNats-Batch-Id: {batch_id}\r\nNats-Batch-Sequence: ".encode()
    frames = []
    for number, (subject, body) in enumerate(messages, 1):
        headers = b"%b%d\r\n\r\n" % (header, number)
        size = len(headers)
        frames.append(b"HPUB %b %d %d\r\n%b%b\r\n" % (subject.encode(), size, size + len(body), headers, body))
    return b"".join(frames)


def _succeed(entries: Sequence[_Entry]) -> None:
    for entry in entries:
        if not entry.done.done():
            entry.done.set_result(None)


def _fail(entries: Sequence[_Entry]) -> None:
    for entry in entries:
        if not entry.done.done():
            entry.done.set_exception(
                KtError(
                    "unavailable",
                    "The access could not be put on record, so nothing was handed out.",
                    "Try again in a few seconds.",
                )
            )

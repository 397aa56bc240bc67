"""Access events: durable before the answer leaves, grouped so that many share one flush to disk."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Callable, Mapping, Sequence
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

_WRONG_LAST_SEQUENCE: Final = frozenset({10071, 10164})
_EXPECTED: Final = "Nats-Expected-Last-Subject-Sequence"


class WrongLastSequence(Exception):
    """A subject's last message is not the one that was expected; nothing of the batch was stored."""


@dataclass(slots=True)
class _Entry:
    """``expected`` is the sequence of the last message on the subject of the first one; None for any."""

    messages: Sequence[tuple[str, bytes]]
    done: asyncio.Future[int]
    expected: int | None = None


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
        if messages:
            await self._stored(messages, None)

    async def append(self, messages: Sequence[tuple[str, bytes]], expected: int) -> int:
        """Store records of one subject behind its last message, whose sequence in the stream is ``expected`` (0: it
        has none). Returns the sequence of the last of them.

        Raises:
            WrongLastSequence: the subject has another last message.
            KtError: as :meth:`record`. Whether they were stored is then not known.
        """
        return await self._stored(messages, expected)

    async def _stored(self, messages: Sequence[tuple[str, bytes]], expected: int | None) -> int:
        ensure_connected(self._nc)
        if self._size + len(messages) > MAX_WAITING:
            raise KtError("overloaded", "Too many access records wait to be stored.", "Try again in a moment.")
        entry = _Entry(messages, asyncio.get_running_loop().create_future(), expected)
        self._waiting.append(entry)
        self._size += len(messages)
        if self._flusher is None or self._flusher.done():
            self._flusher = asyncio.create_task(self._flush())
        return await entry.done

    async def _flush(self) -> None:
        while self._waiting:
            entries = self._take()
            try:
                await self._store_together(entries)
            finally:
                self._size -= sum(len(entry.messages) for entry in entries)

    async def _store_together(self, entries: Sequence[_Entry]) -> None:
        try:
            last = await self._store(entries)
        except WrongLastSequence:
            if len(entries) == 1:
                _fail(entries, WrongLastSequence)
            else:  # one of them; the others are not to suffer for it
                for entry in entries:
                    await self._store_together([entry])
        except (NatsError, TimeoutError, KtError, ValueError) as error:
            events = sum(len(entry.messages) for entry in entries)
            log.warning("access_log.failed", extra={"kind": type(error).__name__, "events": events})
            _fail(entries, _not_recorded)
        else:
            _succeed(entries, last)

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

    async def _store(self, entries: Sequence[_Entry]) -> int:
        """Returns the sequence of the last message."""
        batch = [message for entry in entries for message in entry.messages]
        expected = _expectations(entries)
        last = 0
        for start in range(0, len(batch), MAX_BATCH):
            last = await self._commit(batch[start : start + MAX_BATCH], expected if not start else {})
        return last

    async def _commit(self, batch: Sequence[tuple[str, bytes]], expected: Mapping[int, int]) -> int:
        ensure_connected(self._nc)
        *head, (last_subject, last_body) = batch
        headers: dict[str, str] = {}
        if head:
            batch_id = uuid.uuid4().hex
            await self._nc._send_command(_frames(batch_id, head, expected))  # noqa: SLF001
            headers = {
                "Nats-Batch-Id": batch_id,
                "Nats-Batch-Sequence": str(len(batch)),
                "Nats-Batch-Commit": "1",
            }
        if len(head) in expected:
            headers[_EXPECTED] = str(expected[len(head)])
        reply = await self._nc.request(last_subject, last_body, timeout=ACK_TIMEOUT_S, headers=headers or None)
        ack = orjson.loads(reply.data)
        if error := ack.get("error"):
            if error.get("err_code") in _WRONG_LAST_SEQUENCE:
                raise WrongLastSequence
            raise KtError("unavailable", "The access stream refused the records.")
        return int(ack["seq"])


def _expectations(entries: Sequence[_Entry]) -> Mapping[int, int]:
    """Place in the batch → expected last sequence of the subject, for the first message of an entry that has one."""
    expected: dict[int, int] = {}
    place = 0
    for entry in entries:
        if entry.expected is not None:
            expected[place] = entry.expected
        place += len(entry.messages)
    return expected


def _frames(batch_id: str, messages: Sequence[tuple[str, bytes]], expected: Mapping[int, int]) -> bytes:
    """Publishes of all but the last message in one piece (``HPUB``, NATS client protocol).

    Made here because nats-py checks and encodes the headers of each message anew, which takes longer than the rest.
    """
    header = f"NATS/1.0\r\nNats-Batch-Id: {batch_id}\r\nNats-Batch-Sequence: ".encode()
    frames = []
    for place, (subject, body) in enumerate(messages):
        headers = b"%b%d\r\n" % (header, place + 1)
        if place in expected:
            headers += b"%b: %d\r\n" % (_EXPECTED.encode(), expected[place])
        headers += b"\r\n"
        size = len(headers)
        frames.append(b"HPUB %b %d %d\r\n%b%b\r\n" % (subject.encode(), size, size + len(body), headers, body))
    return b"".join(frames)


def _succeed(entries: Sequence[_Entry], last: int) -> None:
    """``last`` is the sequence of the last message of the last entry; those of a batch follow each other."""
    for entry in reversed(entries):
        if not entry.done.done():
            entry.done.set_result(last)
        last -= len(entry.messages)


def _fail(entries: Sequence[_Entry], error: Callable[[], Exception]) -> None:
    for entry in entries:
        if not entry.done.done():
            entry.done.set_exception(error())


def _not_recorded() -> KtError:
    return KtError(
        "unavailable",
        "The access could not be put on record, so nothing was handed out.",
        "Try again in a few seconds.",
    )

"""Streams into an archive and back: the server's own snapshots, and a digest of what is in them.

A snapshot (NATS ADR-1, ``$JS.API.STREAM.SNAPSHOT``) keeps sequences, times and bytes as they are. The server takes it
as of one sequence while writes go on.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import orjson
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError

from libs.backup.manifest import Segment
from libs.common.direct_get import StoredMessage
from libs.common.errors import KtError
from libs.common.messaging.connection import ConnectionGuard
from libs.common.stream_reader import StreamGap, read_stream

CHUNK: Final = 128 * 1024
SEGMENT: Final = 65_536
"""Sequences of one digest. Where the front of a stream has expired, the segments behind it can still be compared."""

_API_S: Final = 10.0
_CHUNK_S: Final = 30.0
_RESTORED_S: Final = 600.0
_RESTORED_PER_S: Final = 100.0
"""The server writes the whole stream anew before it answers: 1,200 messages a second where each is synced."""

_BATCH: Final = 1000
_COMPLETE: Final = "204"


class QuietGuard(ConnectionGuard):
    """For a command that somebody watches: what fails is told once, as its error."""

    async def on_error(self, error: Exception) -> None:
        pass

    async def on_disconnected(self) -> None:
        pass


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a snapshot holds: sequences from ``first`` to ``last``; ``state`` is what the server asks for later."""

    first: int
    last: int
    messages: int
    bytes: int
    state: Mapping[str, Any]

    @classmethod
    def of(cls, state: Mapping[str, Any]) -> Snapshot:
        last = int(state["last_seq"])
        first = int(state["first_seq"]) if state["messages"] else last + 1
        return cls(first, last, int(state["messages"]), int(state["bytes"]), state)


@asynccontextmanager
async def snapshot(nc: Client, stream: str) -> AsyncIterator[tuple[Snapshot, AsyncIterator[bytes]]]:
    """A snapshot as it begins, and its content in pieces.

    Raises:
        KtError: ``engine_failed`` when the server refuses, ``unavailable`` when it stops answering, also in between.
    """
    inbox = nc.new_inbox()
    arrived: asyncio.Queue[Msg] = asyncio.Queue()
    subscription = await nc.subscribe(inbox, cb=arrived.put)
    try:
        request = {"deliver_subject": inbox, "no_consumers": True, "chunk_size": CHUNK}
        answer = await _asked(nc, f"$JS.API.STREAM.SNAPSHOT.{stream}", request, stream)
        yield Snapshot.of(answer["state"]), _chunks(nc, stream, arrived)
    finally:
        await subscription.unsubscribe()


async def _chunks(nc: Client, stream: str, arrived: asyncio.Queue[Msg]) -> AsyncIterator[bytes]:
    pieces = 0
    while True:
        try:
            async with asyncio.timeout(_CHUNK_S):
                message = await arrived.get()
        except TimeoutError:
            raise _interrupted(stream) from None
        if not message.data:
            # A snapshot of a single piece ends without a status.
            if (message.headers or {}).get("Status", _COMPLETE) != _COMPLETE:
                raise _interrupted(stream)
            return
        if message.reply:
            # Ends in the number of the piece; the last one has no reply subject.
            pieces += 1
            if int(message.reply.rpartition(".")[2]) != pieces:
                raise _interrupted(stream)
            await nc.publish(message.reply, b"")
        yield message.data


async def restore(
    nc: Client, stream: str, config: Mapping[str, Any], state: Mapping[str, Any], content: Iterable[bytes]
) -> Snapshot:
    """Make a stream from a snapshot. Returns what it then holds.

    Raises:
        KtError: ``engine_failed`` with the server's reason.
    """
    request = {"config": {"name": stream, **config}, "state": state}
    inbox = (await _asked(nc, f"$JS.API.STREAM.RESTORE.{stream}", request, stream))["deliver_subject"]
    try:
        for piece in content:
            answer = await nc.request(inbox, piece, timeout=_CHUNK_S)
            if answer.data:
                raise _refused(stream, orjson.loads(answer.data))
        patience = _RESTORED_S + Snapshot.of(state).messages / _RESTORED_PER_S
        answer = await nc.request(inbox, b"", timeout=patience)
    except (NatsError, TimeoutError):
        raise KtError("engine_failed", f"The server did not restore the stream {stream}.") from None
    restored = orjson.loads(answer.data)
    if "error" in restored:
        raise _refused(stream, restored)
    return Snapshot.of(restored["state"])


async def read(
    nc: Client, stream: str, subject: str, first: int, last: int
) -> AsyncIterator[Sequence[StoredMessage]]:
    """The messages from ``first`` to ``last``, every one of them, in batches.

    Raises:
        KtError: ``stream_damaged`` when one is missing or can't be read.
    """
    if first > last:
        return
    position = first - 1
    try:
        async with read_stream(nc, stream, subject, first) as reader:
            while position < last:
                batch = await reader.batch(_BATCH, _CHUNK_S)
                if not batch:
                    raise StreamGap
                position = batch[-1].sequence
                yield batch[: len(batch) - max(0, position - last)]
    except StreamGap:
        raise KtError(
            "stream_damaged",
            f"{stream} ends at {last}, but its message {position + 1} is missing or can't be read.",
            "Compare the stream with the audit log's copy, and restore it from an earlier backup.",
        ) from None
    except (NatsError, TimeoutError):
        raise _interrupted(stream) from None


class ContentDigest:
    """SHA-256 over what is in a stream, in segments that end at multiples of ``SEGMENT``.

    Each message counts as sequence (8 bytes), length of subject (4), subject, length of body (4), body; big-endian.
    """

    def __init__(self, first: int) -> None:
        self._segments: list[Segment] = []
        self._hash = hashlib.sha256()
        self._first = first
        self._through = first - 1

    def update(self, messages: Iterable[StoredMessage]) -> None:
        for message in messages:
            subject, body = message.subject.encode(), message.body
            self._hash.update(message.sequence.to_bytes(8, "big") + len(subject).to_bytes(4, "big") + subject)
            self._hash.update(len(body).to_bytes(4, "big") + body)
            self._through = message.sequence
            if message.sequence % SEGMENT == 0:
                self._close()

    def segments(self) -> tuple[Segment, ...]:
        """All of them; the last one ends where the stream does."""
        if self._through >= self._first:
            self._close()
        return tuple(self._segments)

    def _close(self) -> None:
        digest = self._hash.hexdigest()
        self._segments.append(Segment(first=self._first, through=self._through, sha256=digest))
        self._hash, self._first = hashlib.sha256(), self._through + 1


async def _asked(nc: Client, subject: str, request: Mapping[str, Any], stream: str) -> dict[str, Any]:
    try:
        reply = await nc.request(subject, orjson.dumps(request), timeout=_API_S)
    except (NatsError, TimeoutError):
        raise KtError(
            "unavailable", f"The stream {stream} does not answer.", "`kt status` shows what runs."
        ) from None
    answer: dict[str, Any] = orjson.loads(reply.data)
    if "error" in answer:
        raise _refused(stream, answer)
    return answer


def _refused(stream: str, answer: Mapping[str, Any]) -> KtError:
    reason = answer["error"].get("description", "no reason given")
    return KtError("engine_failed", f"The server refused, for the stream {stream}: {reason}.")


def _interrupted(stream: str) -> KtError:
    return KtError("unavailable", f"Reading the stream {stream} was interrupted.", "Try again; nothing was changed.")

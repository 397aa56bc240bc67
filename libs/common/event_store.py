"""The event store: aggregates as subjects of one JetStream stream, appended with an expected sequence."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence
from typing import Final

from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.js.client import JetStreamContext
from nats.js.errors import APIError

from libs.common.direct_get import DirectReader, StoredMessage
from libs.common.errors import KtError
from libs.common.events import MalformedEvent, RecordedEvent, decode
from libs.common.messaging.connection import ensure_connected
from libs.common.subjects import EVENTS, event_subject

log = logging.getLogger(__name__)

WRONG_LAST_SEQUENCE: Final = frozenset({10071, 10164})
"""10071: another message came first. 10164: the same on a replicated stream while that write is in flight."""

APPEND_TIMEOUT_S: Final = 5.0
_READ_BACK_ATTEMPTS: Final = 3


class ForeignEvent(MalformedEvent):
    """An event stored under the subject of another aggregate: whoever stored it was not the command service."""


class ConcurrencyConflict(Exception):
    """Somebody else appended to the aggregate first: load it again and decide anew."""


class EventStore:
    """Loads and appends the events of one aggregate. An append is durable when it returns."""

    def __init__(self, nc: Client, stream: str = EVENTS) -> None:
        self._nc = nc
        self._stream = stream
        self._js: JetStreamContext = nc.jetstream(timeout=APPEND_TIMEOUT_S)
        self.reader = DirectReader(nc, stream)

    async def load(self, subject: str, after: int = 0) -> list[RecordedEvent]:
        """The aggregate's events, oldest first.

        Raises:
            KtError: ``stream_damaged`` when one of them is no event of this aggregate; ``unavailable``.
        """
        return read_history(await self.reader.all(subject, after))

    async def append(self, subject: str, wire_name: str, body: bytes, *, expected: int) -> int:
        """Append one event if the aggregate's last sequence is still ``expected`` (0: it has none yet).

        Returns the event's sequence. A retry of an append that did succeed returns the first one's sequence.

        Raises:
            ConcurrencyConflict: another event came first.
            KtError: ``unavailable`` (surely not stored) or ``outcome_unknown`` (the same command may be retried).
        """
        ensure_connected(self._nc)
        headers = {"Nats-Expected-Last-Subject-Sequence": str(expected), "Kt-Type": wire_name}
        try:
            ack = await self._js.publish(subject, body, stream=self._stream, headers=headers)
        except APIError as error:
            if error.err_code not in WRONG_LAST_SEQUENCE:
                log.exception("event_store.refused", extra={"err_code": error.err_code})
                raise KtError("unavailable", "The event stream refused the write; nothing was stored.") from None
            stored = _find(body, await self.reader.all(subject, expected))
            if stored is None:
                raise ConcurrencyConflict from None
            return stored
        except (NatsError, TimeoutError):
            return await self._read_back(subject, body, expected)
        return ack.seq

    async def append_at(self, subject: str, wire_name: str, body: bytes, sequence: int) -> None:
        """Append one event if the stream ends right before ``sequence``.

        Raises:
            KtError: ``conflict`` when it does not; ``unavailable``, and then it may be stored or not.
        """
        ensure_connected(self._nc)
        headers = {"Nats-Expected-Last-Sequence": str(sequence - 1), "Kt-Type": wire_name}
        try:
            await self._js.publish(subject, body, stream=self._stream, headers=headers)
        except APIError as error:
            if error.err_code not in WRONG_LAST_SEQUENCE:
                raise KtError("unavailable", "The event stream refused the write; nothing was stored.") from None
            raise KtError(
                "conflict", f"The event stream does not end at {sequence - 1}; nothing was stored."
            ) from None
        except (NatsError, TimeoutError):
            raise KtError("unavailable", "The event stream did not confirm the write.", "Repeat it.") from None

    async def _read_back(self, subject: str, body: bytes, expected: int) -> int:
        for _ in range(_READ_BACK_ATTEMPTS):
            try:
                newer = await self.reader.all(subject, expected)
            except KtError:
                await asyncio.sleep(0.5)
                continue
            stored = _find(body, newer)
            if stored is not None:
                return stored
            if newer:
                raise ConcurrencyConflict
            break
        raise KtError(
            "outcome_unknown",
            "The event stream did not confirm the write, and it could not be found on reading back.",
            "Repeat the request with the same Idempotency-Key: it is carried out at most once.",
        )


def read_event(message: StoredMessage) -> RecordedEvent:
    """The event in a message of ``KT_EVENTS``, whose subject has to be that of the aggregate its body names.

    Raises:
        ForeignEvent: it is not.
        MalformedEvent: no event at all.
        UnknownEventType: written by a newer version of the software.
    """
    recorded = decode(message.body, message.sequence)
    resource = recorded.resource
    if message.subject != event_subject(recorded.metadata.org, resource.type, resource.id):
        raise ForeignEvent(f"sequence {message.sequence}: stored under the subject of another aggregate")
    return recorded


def read_history(messages: Iterable[StoredMessage]) -> list[RecordedEvent]:
    """The events of one aggregate.

    Raises:
        KtError: ``stream_damaged``.
    """
    try:
        return [read_event(message) for message in messages]
    except MalformedEvent as error:
        raise KtError(
            "stream_damaged",
            f"The event stream holds what is no event of this aggregate ({error}). Nothing was stored.",
            "Compare the stream with the audit log's copy.",
        ) from None


def _find(body: bytes, messages: Sequence[StoredMessage]) -> int | None:
    return next((m.sequence for m in messages if m.body == body), None)

"""Giving the event stream back what was cut off at its end, as far as it is proven."""

from __future__ import annotations

from typing import Protocol

import orjson

from libs.common.errors import KtError
from libs.common.events import MalformedEvent, UnknownEventType, decode
from libs.common.protocol.command import Restored, RestoreEvents
from libs.common.subjects import EVENTS, event_subject
from libs.common.transparency.merkle import NotProven, leaf_hash, verify_inclusion
from libs.common.transparency.note import Checkpoint, VerifierKey, verified_checkpoint


class LogKeys(Protocol):
    async def of(self, stream: str) -> list[VerifierKey]:
        """The public keys that sign the log of a stream, from who has the private ones."""


class Appender(Protocol):
    async def append_at(self, subject: str, wire_name: str, body: bytes, sequence: int) -> None:
        """
        Raises:
            KtError: ``conflict`` when the stream does not end right before ``sequence``; ``unavailable``.
        """


class Restoring:
    """What asks for it keeps a copy of the stream, and is not believed: each event has to lead to a root that the key
    service signed, at the very sequence at which it is appended."""

    def __init__(self, keys: LogKeys, store: Appender) -> None:
        self._keys = keys
        self._store = store

    async def restore(self, _subject: str, request: RestoreEvents) -> Restored:
        """
        Raises:
            KtError: ``not_proven``; ``conflict`` when the stream ends elsewhere; ``unavailable``.
        """
        try:
            checkpoint = verified_checkpoint(request.note.encode(), await self._keys.of(EVENTS))
            proven = [
                (sequence, item.body, *_place(sequence, item.body, item.path, checkpoint))
                for sequence, item in enumerate(request.items, request.first)
            ]
        except (NotProven, MalformedEvent, UnknownEventType) as reason:
            raise KtError("not_proven", f"Nothing was restored: {reason}.") from None
        for sequence, body, subject, wire_name in proven:
            await self._store.append_at(subject, wire_name, body, sequence)
        return Restored(last=request.first + len(proven) - 1)


def _place(sequence: int, body: bytes, path: list[bytes], checkpoint: Checkpoint) -> tuple[str, str]:
    """Subject and wire name of an event.

    Raises:
        NotProven: it is not at this sequence of the log.
    """
    verify_inclusion(leaf_hash(body), sequence - 1, checkpoint.size, path, checkpoint.root)
    recorded = decode(body, sequence)
    resource = recorded.resource
    return event_subject(recorded.metadata.org, resource.type, resource.id), str(orjson.loads(body)["type"])

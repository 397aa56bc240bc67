"""The index of an archive: which sealed value was which version of what, read from the events."""

from __future__ import annotations

from collections.abc import Iterable

from libs.backup.archive import LineWriter
from libs.common.direct_get import StoredMessage
from libs.common.event_store import read_event
from libs.common.events import MalformedEvent, RecordedEvent, UnknownEventType
from libs.common.events.secret import SealedRef, SecretVersionDestroyed


class Index:
    """Writes a line for each event that brought a value. ``unreadable`` counts events that can't be read."""

    def __init__(self, lines: LineWriter) -> None:
        self._lines = lines
        self.unreadable = 0

    def add(self, messages: Iterable[StoredMessage]) -> None:
        for message in messages:
            try:
                self._add(read_event(message))
            except (MalformedEvent, UnknownEventType):
                self.unreadable += 1

    def _add(self, recorded: RecordedEvent) -> None:
        event = recorded.event
        sealed, version = getattr(event, "sealed", None), getattr(event, "version", None)
        if not isinstance(sealed, SealedRef) or version is None or isinstance(event, SecretVersionDestroyed):
            return
        self._lines.write(
            {
                "org": recorded.metadata.org,
                "kind": recorded.resource.type,
                "name": recorded.resource.id,
                "version": version,
                "sealed_id": sealed.id,
                "digest": sealed.digest,
                "sequence": recorded.sequence,
                "time": recorded.metadata.time,
            }
        )

"""The index of an archive: which sealed value was which version of what, read from the events."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from libs.backup.archive import LineWriter
from libs.common.direct_get import StoredMessage
from libs.common.event_store import read_event
from libs.common.events import MalformedEvent, RecordedEvent, UnknownEventType
from libs.common.events.secret import SealedRef, SecretCreated, SecretRolledBack, SecretRotated
from libs.common.events.webhook import WebhookCreated, WebhookSecretRotated

WEBHOOK_SECRET: Final = "webhook_secret"  # noqa: S105 - the kind of a sealed value


class Index:
    """Writes a line for each event that brought a value. ``unreadable`` counts events that can't be read.

    The secrets of a webhook have no versions of their own; they are counted, the first one is 1.
    """

    def __init__(self, lines: LineWriter) -> None:
        self._lines = lines
        self._webhook_secrets: dict[tuple[str, str], int] = {}
        self.unreadable = 0

    def add(self, messages: Iterable[StoredMessage]) -> None:
        for message in messages:
            try:
                self._add(read_event(message))
            except (MalformedEvent, UnknownEventType):
                self.unreadable += 1

    def _add(self, recorded: RecordedEvent) -> None:
        match recorded.event:
            case SecretCreated() | SecretRotated() | SecretRolledBack() as event:
                self._write(recorded, recorded.resource.type, event.version, event.sealed)
            case WebhookCreated() | WebhookSecretRotated() as event:
                webhook = recorded.metadata.org, recorded.resource.id
                self._webhook_secrets[webhook] = self._webhook_secrets.get(webhook, 0) + 1
                self._write(recorded, WEBHOOK_SECRET, self._webhook_secrets[webhook], event.sealed)

    def _write(self, recorded: RecordedEvent, kind: str, version: int, sealed: SealedRef) -> None:
        self._lines.write(
            {
                "org": recorded.metadata.org,
                "kind": kind,
                "name": recorded.resource.id,
                "version": version,
                "sealed_id": sealed.id,
                "digest": sealed.digest,
                "sequence": recorded.sequence,
                "time": recorded.metadata.time,
            }
        )

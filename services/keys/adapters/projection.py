"""The projection of KT_EVENTS into references to sealed values, and the destruction that follows deletions."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from typing import Final
from uuid import UUID

from libs.common.direct_get import StoredMessage
from libs.common.event_store import ForeignEvent, read_event
from libs.common.events import RecordedEvent
from libs.common.postgres import Connection
from libs.common.secret_kinds import KINDS
from libs.common.subjects import ALL_EVENTS, EVENTS, aggregate_of
from services.keys.adapters import sql
from services.keys.application.destruction import effects_of

log = logging.getLogger(__name__)

REFERRING: Final = frozenset((*KINDS, "webhook"))
"""The aggregates whose events refer to sealed values."""


class KeysProjection:
    """Implements ``Projection``. Reads the whole stream, because the runner wants every sequence."""

    name = "sealed_references"
    stream = EVENTS
    subject = ALL_EVENTS

    async def apply(self, connection: Connection, messages: Sequence[StoredMessage]) -> None:
        own = (m for m in messages if aggregate_of(m.subject) in REFERRING)
        effects = effects_of(_events(own))
        if effects.referenced:
            rows = [
                (UUID(sealed_id), resource.org, resource.kind, resource.name, sequence)
                for (resource, sealed_id), sequence in effects.referenced.items()
            ]
            await connection.execute(sql.REFER, _columns(rows))
        if effects.taken_over:
            taken = [(UUID(sealed_id), r.org, r.name) for sealed_id, r in effects.taken_over.items()]
            await connection.execute(sql.ROWS_TAKEN_OVER, _columns(taken))
        if effects.deleted:
            deletions = [(r.org, r.kind, r.name, sequence) for r, sequence in effects.deleted.items()]
            await connection.execute(sql.DESTROY, _columns(deletions))
        if effects.destroyed:
            versions = [
                (UUID(sealed_id), r.org, r.kind, r.name, sequence)
                for (r, sealed_id), sequence in effects.destroyed.items()
            ]
            await connection.execute(sql.DESTROY_VERSIONS, _columns(versions))


def _events(messages: Iterable[StoredMessage]) -> Iterator[RecordedEvent]:
    for message in messages:
        try:
            yield read_event(message)
        except ForeignEvent as error:
            # It names another resource, so it says nothing of this one. Stopping would let it hold up deletions.
            log.error("keys.foreign_event", extra={"sequence": message.sequence, "why": str(error)})  # noqa: TRY400


def _columns(rows: Sequence[tuple[object, ...]]) -> list[list[object]]:
    return [list(column) for column in zip(*rows, strict=True)]

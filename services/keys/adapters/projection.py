"""The projection of KT_EVENTS into references to sealed values, and the destruction that follows deletions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from uuid import UUID

from libs.common.direct_get import StoredMessage
from libs.common.events import decode
from libs.common.postgres import Connection
from libs.common.subjects import ALL_EVENTS, EVENTS, parse_event_subject
from services.keys.adapters import sql
from services.keys.application.destruction import effects_of

AGGREGATE: Final = "config_variable"


class KeysProjection:
    """Implements ``Projection``. Reads the whole stream, because the runner wants every sequence."""

    name = "sealed_references"
    stream = EVENTS
    subject = ALL_EVENTS

    async def apply(self, connection: Connection, messages: Sequence[StoredMessage]) -> None:
        own = (m for m in messages if parse_event_subject(m.subject)[1] == AGGREGATE)
        effects = effects_of(decode(message.body, message.sequence) for message in own)
        if effects.referenced:
            rows = [
                (UUID(sealed_id), resource.org, resource.kind, resource.name, sequence)
                for (resource, sealed_id), sequence in effects.referenced.items()
            ]
            await connection.execute(sql.REFER, _columns(rows))
        if effects.deleted:
            deletions = [(r.org, r.kind, r.name, sequence) for r, sequence in effects.deleted.items()]
            await connection.execute(sql.DESTROY, _columns(deletions))


def _columns(rows: Sequence[tuple[object, ...]]) -> list[list[object]]:
    return [list(column) for column in zip(*rows, strict=True)]

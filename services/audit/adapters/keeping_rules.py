"""How long the log is kept, and what went: the projection of the events about the log itself."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, Final

from libs.common.direct_get import StoredMessage
from libs.common.event_store import read_event
from libs.common.events import MalformedEvent, RecordedEvent, UnknownEventType, decode
from libs.common.events.audit_log import HoldAdded, HoldRemoved, RetentionApplied, RetentionSet
from libs.common.events.gateway import GatewayAuditPolicyApplied
from libs.common.postgres import Connection
from libs.common.subjects import GATEWAY_POLICY, access_subject, aggregate_of
from services.audit.domain.streams import STREAM_NUMBERS

log = logging.getLogger(__name__)

AUDIT_LOG: Final = "audit_log"
_TOLD_BY: Final = frozenset({AUDIT_LOG, GATEWAY_POLICY})

_SET: Final = """
INSERT INTO retention (org, gateway, days) VALUES (%s, %s, %s)
ON CONFLICT (org, gateway) DO UPDATE SET days = excluded.days"""
_HOLD: Final = """
INSERT INTO holds (org, hold, begins, ends, reason, added_at, added_by) VALUES (%s, %s, %s, %s, %s, %s, %s)
ON CONFLICT DO NOTHING"""
_RELEASE: Final = "DELETE FROM holds WHERE org = %s AND hold = %s"
_RETIRE: Final = """
INSERT INTO retired (org, period, stream, first_sequence, last_sequence, recorded_at) VALUES (%s, %s, %s, %s, %s, %s)
ON CONFLICT DO NOTHING"""


class KeepingRules:
    """Applies events about the log, in the transaction that writes their rows."""

    async def apply(self, connection: Connection, messages: Sequence[StoredMessage]) -> None:
        # Taking each subject apart would cost a hundredth of what the whole projection may take.
        near = [m for m in messages if AUDIT_LOG in m.subject or GATEWAY_POLICY in m.subject]
        for message in near:
            if aggregate_of(message.subject) not in _TOLD_BY:
                continue
            try:
                recorded = _read(message)
            except (MalformedEvent, UnknownEventType) as error:
                log.error("keeping.unreadable", extra={"sequence": message.sequence, "why": repr(error)})  # noqa: TRY400
                continue
            for statement, parameters in _statements(recorded):
                await connection.execute(statement, parameters)


def _read(message: StoredMessage) -> RecordedEvent:
    if aggregate_of(message.subject) != GATEWAY_POLICY:
        return read_event(message)
    recorded = decode(message.body, message.sequence)
    if message.subject != access_subject(recorded.metadata.org, GATEWAY_POLICY, recorded.resource.id):
        raise MalformedEvent(f"sequence {message.sequence}: stored under the subject of something else")
    return recorded


def _statements(recorded: RecordedEvent) -> list[tuple[str, tuple[Any, ...]]]:
    event, org, time = recorded.event, recorded.metadata.org, recorded.metadata.time
    match event:
        case RetentionSet():
            return [(_SET, (org, "", event.days))]
        case GatewayAuditPolicyApplied():
            return [(_SET, (org, recorded.resource.id, event.retention_days))]
        case HoldAdded():
            actor = recorded.metadata.actor
            who = f"{actor.type}/{actor.id}"
            return [(_HOLD, (org, event.hold, event.begins, event.ends or None, event.reason, time, who))]
        case HoldRemoved():
            return [(_RELEASE, (org, event.hold))]
        case RetentionApplied():
            return [
                (_RETIRE, (org, event.period, number, went.first_sequence, went.last_sequence, time))
                for went in event.ranges
                if (number := STREAM_NUMBERS.get(went.stream)) is not None
            ]
        case _:
            return []

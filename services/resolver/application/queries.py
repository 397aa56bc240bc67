"""What is there now, and how it came to be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from libs.common.errors import KtError
from libs.common.events import REGISTRY, RecordedEvent
from libs.common.events.secret import SecretRolledBack
from libs.common.names import checked_variable_name
from libs.common.protocol.resolver import (
    GetSecret,
    HistoryEntry,
    SecretHistory,
    SecretView,
)
from libs.common.references import reference_to
from libs.common.secret_kinds import KINDS
from libs.common.subjects import event_subject
from services.resolver.application.listing import view_of, view_of_row
from services.resolver.application.ports import CurrentState, LegacyRows
from services.resolver.domain.history import ValueState, value_states
from services.resolver.domain.secret import Known, SecretState


class History(Protocol):
    async def load(self, subject: str, after: int = 0) -> list[RecordedEvent]: ...


@dataclass(frozen=True, slots=True)
class Queries:
    current: CurrentState
    rows: LegacyRows
    history_of: History

    async def get(self, _subject: str, request: GetSecret) -> SecretView:
        name = checked_variable_name(request.name)
        secret = await self._known(request.org, request.kind, name)
        if secret is None and KINDS[request.kind].taken_over:
            rows = (await self.rows.named(request.org, [name])).rows
            if rows:
                return view_of_row(rows[0])
            # Taken over since the first look, perhaps: then it is in the stream.
            secret = await self._known(request.org, request.kind, name)
        if not isinstance(secret, SecretState) or secret.sealed is None:
            raise _not_found(request.kind)
        return view_of(secret)

    async def history(self, _subject: str, request: GetSecret) -> SecretHistory:
        name = checked_variable_name(request.name)
        events = await self.history_of.load(event_subject(request.org, request.kind, name))
        if not events and not await self._has_row(request.org, request.kind, name):
            raise _not_found(request.kind)
        states = value_states(events)
        return SecretHistory(items=[_entry(event, states.get(event.sequence)) for event in events])

    async def _known(self, org: str, kind: str, name: str) -> Known:
        reference = reference_to(kind, name)
        return (await self.current.secrets(org, [reference]))[reference]

    async def _has_row(self, org: str, kind: str, name: str) -> bool:
        return KINDS[kind].taken_over is not None and bool((await self.rows.named(org, [name])).rows)


def _entry(recorded: RecordedEvent, value_state: ValueState | None) -> HistoryEntry:
    event, metadata = recorded.event, recorded.metadata
    kind = REGISTRY.of(event)
    return HistoryEntry(
        sequence=recorded.sequence,
        event_id=metadata.id,
        type=kind.wire_name,
        time=metadata.time,
        action=kind.action,
        version=recorded.resource.version,
        actor_type=metadata.actor.type,
        actor_id=metadata.actor.id,
        from_version=event.from_version if isinstance(event, SecretRolledBack) else 0,
        value_state=value_state or "",
    )


def _not_found(kind: str) -> KtError:
    known = KINDS[kind]
    return KtError(
        "not_found", f"There is no {known.noun} of this name.", f"`{known.command} list` shows what there is."
    )

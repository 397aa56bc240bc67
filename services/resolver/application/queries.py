"""What is there now, and how it came to be."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, Protocol

from libs.common.errors import KtError
from libs.common.events import REGISTRY, RecordedEvent
from libs.common.events.secret import SecretRolledBack
from libs.common.names import checked_variable_name
from libs.common.protocol.resolver import (
    GetSecret,
    HistoryEntry,
    ListSecrets,
    SecretHistory,
    SecretList,
    SecretView,
)
from libs.common.references import reference_to
from libs.common.secret_kinds import KINDS
from libs.common.subjects import event_subject
from services.resolver.application.ports import CurrentState
from services.resolver.domain.history import ValueState, value_states
from services.resolver.domain.secret import SecretState

READ_MODEL_TIMEOUT_S: Final = 3.0
"""Less than what a caller waits for an answer, so that it gets one."""


class Lists(Protocol):
    async def page(self, org: str, kind: str, prefix: str, after: str, limit: int) -> list[SecretView]: ...


class History(Protocol):
    async def load(self, subject: str, after: int = 0) -> list[RecordedEvent]: ...


@dataclass(frozen=True, slots=True)
class Queries:
    """``caught_up`` returns True once the lists show everything stored before it was called."""

    current: CurrentState
    lists: Lists
    history_of: History
    caught_up: Callable[[float], Awaitable[bool]]

    async def get(self, _subject: str, request: GetSecret) -> SecretView:
        name = checked_variable_name(request.name)
        reference = reference_to(request.kind, name)
        secret = (await self.current.secrets(request.org, [reference]))[reference]
        if not isinstance(secret, SecretState) or secret.sealed is None:
            raise _not_found(request.kind)
        return SecretView(
            name=name,
            description=secret.description,
            sensitive=secret.sensitive,
            version=secret.version,
            sequence=secret.sequence,
            created_at=secret.created_at,
            updated_at=secret.updated_at,
        )

    async def list(self, _subject: str, request: ListSecrets) -> SecretList:
        if not await self.caught_up(READ_MODEL_TIMEOUT_S):
            raise KtError(
                "unavailable", "The list has not caught up with the event stream.", "Try again in a moment."
            )
        items = await self.lists.page(request.org, request.kind, request.prefix, request.after, request.limit + 1)
        return SecretList(items=items[: request.limit], more=len(items) > request.limit)

    async def history(self, _subject: str, request: GetSecret) -> SecretHistory:
        name = checked_variable_name(request.name)
        events = await self.history_of.load(event_subject(request.org, request.kind, name))
        if not events:
            raise _not_found(request.kind)
        states = value_states(events)
        return SecretHistory(items=[_entry(event, states.get(event.sequence)) for event in events])


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

"""What is there now, and how it came to be."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, Protocol

from libs.common.errors import KtError
from libs.common.events import REGISTRY, RecordedEvent
from libs.common.events.config_variable import ConfigVariableRolledBack
from libs.common.names import checked_variable_name
from libs.common.protocol.resolver import (
    GetVariable,
    HistoryEntry,
    ListVariables,
    VariableHistory,
    VariableList,
    VariableView,
)
from libs.common.subjects import event_subject
from services.resolver.application.ports import CurrentState
from services.resolver.domain.history import ValueState, value_states
from services.resolver.domain.variable import Variable

READ_MODEL_TIMEOUT_S: Final = 3.0
"""Less than what a caller waits for an answer, so that it gets one."""


class Lists(Protocol):
    async def page(self, org: str, prefix: str, after: str, limit: int) -> list[VariableView]: ...


class History(Protocol):
    async def load(self, subject: str, after: int = 0) -> list[RecordedEvent]: ...


@dataclass(frozen=True, slots=True)
class Queries:
    """``caught_up`` returns True once the lists show everything stored before it was called."""

    current: CurrentState
    lists: Lists
    history_of: History
    caught_up: Callable[[float], Awaitable[bool]]

    async def get(self, _subject: str, request: GetVariable) -> VariableView:
        name = checked_variable_name(request.name)
        variable = (await self.current.variables(request.org, [name]))[name]
        if not isinstance(variable, Variable) or variable.sealed is None:
            raise _not_found()
        return VariableView(
            name=name,
            description=variable.description,
            sensitive=variable.sensitive,
            version=variable.version,
            sequence=variable.sequence,
            created_at=variable.created_at,
            updated_at=variable.updated_at,
        )

    async def list(self, _subject: str, request: ListVariables) -> VariableList:
        if not await self.caught_up(READ_MODEL_TIMEOUT_S):
            raise KtError(
                "unavailable", "The list has not caught up with the event stream.", "Try again in a moment."
            )
        items = await self.lists.page(request.org, request.prefix, request.after, request.limit + 1)
        return VariableList(items=items[: request.limit], more=len(items) > request.limit)

    async def history(self, _subject: str, request: GetVariable) -> VariableHistory:
        name = checked_variable_name(request.name)
        events = await self.history_of.load(event_subject(request.org, "config_variable", name))
        if not events:
            raise _not_found()
        states = value_states(events)
        return VariableHistory(items=[_entry(event, states.get(event.sequence)) for event in events])


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
        from_version=event.from_version if isinstance(event, ConfigVariableRolledBack) else 0,
        value_state=value_state or "",
    )


def _not_found() -> KtError:
    return KtError("not_found", "There is no config variable of this name.", "`kt vars list` shows what there is.")

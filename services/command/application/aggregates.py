"""Load, decide, append: the one way a command becomes an event."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from libs.common.clock import Clock, rfc3339
from libs.common.decider import Decider
from libs.common.errors import KtError
from libs.common.event_store import ConcurrencyConflict
from libs.common.events import Metadata, RecordedEvent, Resource, decode, encode
from libs.common.ids import IdFactory
from libs.common.protocol.parties import Caller
from libs.common.subjects import event_subject
from services.command.application.ports import Store

SOURCE: Final = "keeptrusts/command"
MAX_ATTEMPTS: Final = 8

State = TypeVar("State")


@dataclass(frozen=True, slots=True)
class Loaded(Generic[State]):
    """An aggregate as it stands. ``sequence`` is that of its last event, 0 when it has none."""

    state: State
    history: tuple[RecordedEvent, ...]

    @property
    def sequence(self) -> int:
        return self.history[-1].sequence if self.history else 0

    def find(self, command_id: str) -> RecordedEvent | None:
        """The event a command led to, when it was carried out before."""
        return next((e for e in self.history if e.metadata.command_id == command_id), None)


class Aggregates:
    def __init__(self, store: Store, clock: Clock, ids: IdFactory) -> None:
        self._store = store
        self._clock = clock
        self._ids = ids

    def new_id(self) -> str:
        return self._ids.new()

    async def load(self, decider: Decider[Any, State, Any], org: str, kind: str, name: str) -> Loaded[State]:
        history = await self._store.load(event_subject(org, kind, name))
        return Loaded(decider.fold(e.event for e in history), tuple(history))

    async def append(
        self, loaded: Loaded[Any], event: object, resource: Resource, caller: Caller, command_id: str
    ) -> RecordedEvent:
        """Store one event behind what was loaded.

        Raises:
            ConcurrencyConflict: somebody else was first.
        """
        metadata = Metadata(
            id=self._ids.new(),
            time=rfc3339(self._clock.now()),
            org=caller.org,
            source=SOURCE,
            actor=caller.actor,
            origin=caller.origin,
            command_id=command_id,
        )
        wire_name, body = encode(event, resource, metadata)
        subject = event_subject(caller.org, resource.type, resource.id)
        sequence = await self._store.append(subject, wire_name, body, expected=loaded.sequence)
        return decode(body, sequence)

    async def carry_out(
        self,
        decider: Decider[Any, State, Any],
        command: object,
        resource: Resource,
        caller: Caller,
        command_id: str,
    ) -> int:
        """Run a command that needs nothing but the aggregate. Returns the aggregate's last sequence."""

        async def attempt() -> int:
            loaded = await self.load(decider, caller.org, resource.type, resource.id)
            events: Sequence[object] = () if loaded.find(command_id) else decider.decide(command, loaded.state)
            for event in events:
                return (await self.append(loaded, event, resource, caller, command_id)).sequence
            return loaded.sequence

        return await retried(attempt)


Result = TypeVar("Result")


async def retried(attempt: Callable[[], Awaitable[Result]]) -> Result:
    """Run ``attempt`` again while somebody else is faster.

    Raises:
        KtError: ``conflict`` when that goes on for too long.
    """
    for _ in range(MAX_ATTEMPTS):
        try:
            return await attempt()
        except ConcurrencyConflict:
            continue
    raise KtError("conflict", "Others kept changing it at the same time; nothing was stored.", "Try again.")

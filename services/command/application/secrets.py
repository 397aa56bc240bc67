"""Commands on secrets of one kind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from libs.common.errors import KtError
from libs.common.events import RecordedEvent, Resource
from libs.common.events.config_variable import ConfigVariableTakenOver
from libs.common.events.secret import (
    SealedRef,
    SecretCreated,
    SecretDeleted,
    SecretEvent,
    SecretRolledBack,
    SecretRotated,
    SecretUpdated,
    SecretVersionDestroyed,
)
from libs.common.ids import derived_id
from libs.common.names import checked_variable_name
from libs.common.protocol.command import BoxedValue, SecretCommand, SecretOutcome
from libs.common.secret_kinds import SecretKind
from services.command.application.aggregates import Aggregates, Loaded, retried
from services.command.application.ports import Sealer
from services.command.domain.secret import (
    Create,
    Delete,
    DestroyVersion,
    RollBack,
    Rotate,
    SecretDecider,
    SecretState,
    TakeOver,
    Update,
    secret_decider,
)

_EVENT_OF: Final[Mapping[str, type[SecretEvent]]] = {
    "create": SecretCreated,
    "update": SecretUpdated,
    "rotate": SecretRotated,
    "roll_back": SecretRolledBack,
    "delete": SecretDeleted,
    "destroy_version": SecretVersionDestroyed,
    "take_over": ConfigVariableTakenOver,
}


@dataclass(frozen=True, slots=True)
class Secrets:
    """A value is sealed before its event is appended: an event never refers to a value that is not durable.

    The sealed id follows from the command id, so a command that is retried seals the same row again and a retry
    with another value is noticed by the key service, which alone can compare.

    A name without history may be that of an older plaintext row. Then the first command that changes it is preceded
    by an event of its own, which makes the row a secret as any other.
    """

    kind: SecretKind
    aggregates: Aggregates
    sealer: Sealer
    decider: SecretDecider = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "decider", secret_decider(self.kind))

    async def handle(self, _subject: str, command: SecretCommand) -> SecretOutcome:
        checked_variable_name(command.name)
        return await retried(lambda: self._attempt(command))

    async def _attempt(self, command: SecretCommand) -> SecretOutcome:
        org = command.caller.org
        loaded = await self.aggregates.load(self.decider, org, self.kind.name, command.name)
        earlier = loaded.find(command.command_id)
        if earlier is not None:
            await self._check_same(command, earlier, loaded.state)
            return _outcome(command.name, self._until(loaded, earlier.sequence), replayed=True)
        _check_expected(command, loaded.sequence)
        if not loaded.history and command.command != "create" and self.kind.taken_over:
            loaded = await self._from_row(command, loaded)
        if command.command == "take_over":
            return _outcome(command.name, _existing(loaded), replayed=False)
        sealed_id = derived_id("sealed", org, command.command_id)
        # Decided once without the value, so that a command that is not allowed seals nothing.
        if not self.decider.decide(_command(command, SealedRef(sealed_id, "")), loaded.state):
            return _outcome(command.name, loaded, replayed=False)
        sealed = await self._sealed(command, sealed_id, loaded)
        (event,) = self.decider.decide(_command(command, sealed), loaded.state)
        state = self.decider.evolve(loaded.state, event)
        version = event.version if isinstance(event, SecretVersionDestroyed) else state.version
        resource = Resource(self.kind.name, command.name, version)
        recorded = await self.aggregates.append(loaded, event, resource, command.caller, command.command_id)
        return _outcome(command.name, Loaded(state, (*loaded.history, recorded)), replayed=False)

    async def _from_row(self, command: SecretCommand, loaded: Loaded[SecretState]) -> Loaded[SecretState]:
        """The secret that an older plaintext row becomes; ``loaded`` as it is without one."""
        org, name = command.caller.org, command.name
        row = await self.sealer.take_over(self.aggregates.new_id(), org, name)
        if row is None:
            return loaded
        (event,) = self.decider.decide(TakeOver(row.description, row.sensitive, row.sealed), loaded.state)
        state = self.decider.evolve(loaded.state, event)
        command_id = command.command_id
        if command.command != "take_over":
            # What is not allowed takes nothing over either.
            self.decider.decide(_command(command, SealedRef("", "")), state)
            command_id = derived_id("taken over for", org, command.command_id)
        resource = Resource(self.kind.name, name, state.version)
        recorded = await self.aggregates.append(loaded, event, resource, command.caller, command_id)
        return Loaded(state, (recorded,))

    async def _sealed(self, command: SecretCommand, sealed_id: str, loaded: Loaded[SecretState]) -> SealedRef:
        org, name = command.caller.org, command.name
        if command.command in ("create", "rotate"):
            first = not loaded.history and self.kind.taken_over is not None
            return await self.sealer.seal(sealed_id, org, name, _value(command), first=first)
        if command.command == "roll_back":
            source = loaded.state.value_of(_version(command))
            if source is not None:
                return await self.sealer.reseal(sealed_id, org, name, source)
        return SealedRef("", "")

    async def _check_same(self, command: SecretCommand, earlier: RecordedEvent, state: SecretState) -> None:
        event = earlier.event
        same = isinstance(event, _EVENT_OF[command.command])
        for name in ("description", "sensitive"):
            wanted = getattr(command, name)
            same = same and (wanted is None or getattr(event, name, wanted) == wanted)
        if command.command == "roll_back":
            same = same and event.from_version == command.to_version
        if command.command == "destroy_version":
            same = same and event.version == command.version
        if not same:
            raise KtError(
                "idempotency_mismatch",
                f"This Idempotency-Key was used for another request on this {self.kind.noun}; nothing was changed.",
                "Use a new key for a new request.",
            )
        # Comparing means sealing, and a value that a deletion destroyed must not be stored again.
        if command.value is not None and event.sealed in (sealed for _, sealed in state.values):
            await self.sealer.seal(event.sealed.id, command.caller.org, command.name, command.value)

    def _until(self, loaded: Loaded[SecretState], sequence: int) -> Loaded[SecretState]:
        history = tuple(e for e in loaded.history if e.sequence <= sequence)
        return Loaded(self.decider.fold(e.event for e in history), history)


def _existing(loaded: Loaded[SecretState]) -> Loaded[SecretState]:
    """Raises: KtError ``not_found``."""
    if not loaded.state.exists:
        raise KtError("not_found", "There is no older plaintext row of this name.", "`kt legacy status` counts them.")
    return loaded


def _command(
    command: SecretCommand, sealed: SealedRef
) -> Create | Update | Rotate | RollBack | Delete | DestroyVersion:
    match command.command:
        case "create":
            sensitive = True if command.sensitive is None else command.sensitive
            return Create(command.description or "", sensitive, sealed)
        case "update":
            return Update(command.description, command.sensitive)
        case "rotate":
            return Rotate(sealed)
        case "roll_back":
            return RollBack(_version(command), sealed)
        case "delete":
            return Delete()
        case "destroy_version":
            return DestroyVersion(_destroyed_version(command))
        case "take_over":
            raise ValueError("an older row is taken over with what it holds")


def _value(command: SecretCommand) -> BoxedValue:
    if command.value is None:
        raise KtError("invalid_request", f"To {command.command} takes a value.")
    return command.value


def _version(command: SecretCommand) -> int:
    if command.to_version is None:
        raise KtError("invalid_request", "To roll back takes the version to go back to.")
    return command.to_version


def _destroyed_version(command: SecretCommand) -> int:
    if command.version is None:
        raise KtError("invalid_request", "To destroy a version takes its number.")
    return command.version


def _check_expected(command: SecretCommand, sequence: int) -> None:
    if command.expected_sequence is not None and command.expected_sequence != sequence:
        raise KtError(
            "precondition_failed",
            "It was changed since the ETag in If-Match was read; nothing was stored.",
            "Read it again, then repeat the change with the new ETag.",
        )


def _outcome(name: str, loaded: Loaded[SecretState], *, replayed: bool) -> SecretOutcome:
    state, last = loaded.state, loaded.history[-1]
    created = next(e for e in reversed(loaded.history) if isinstance(e.event, SecretCreated))
    return SecretOutcome(
        name=name,
        version=state.version,
        description=state.description,
        sensitive=state.sensitive,
        deleted=not state.exists,
        sequence=last.sequence,
        created_at=created.metadata.time,
        updated_at=last.metadata.time,
        event_id=last.metadata.id,
        replayed=replayed,
    )

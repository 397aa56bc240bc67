"""Commands on config variables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from libs.common.errors import KtError
from libs.common.events import RecordedEvent, Resource
from libs.common.events.config_variable import (
    ConfigVariableCreated,
    ConfigVariableDeleted,
    ConfigVariableEvent,
    ConfigVariableRolledBack,
    ConfigVariableRotated,
    ConfigVariableUpdated,
    ConfigVariableVersionDestroyed,
    SealedRef,
)
from libs.common.ids import derived_id
from libs.common.names import checked_variable_name
from libs.common.protocol.command import BoxedValue, ConfigVariableCommand, ConfigVariableOutcome
from services.command.application.aggregates import Aggregates, Loaded, retried
from services.command.application.ports import Sealer
from services.command.domain.config_variable import (
    CONFIG_VARIABLE,
    ConfigVariable,
    Create,
    Delete,
    DestroyVersion,
    RollBack,
    Rotate,
    Update,
    decide,
    evolve,
)

KIND: Final = "config_variable"
_EVENT_OF: Final[Mapping[str, type[ConfigVariableEvent]]] = {
    "create": ConfigVariableCreated,
    "update": ConfigVariableUpdated,
    "rotate": ConfigVariableRotated,
    "roll_back": ConfigVariableRolledBack,
    "delete": ConfigVariableDeleted,
    "destroy_version": ConfigVariableVersionDestroyed,
}


@dataclass(frozen=True, slots=True)
class ConfigVariables:
    """A value is sealed before its event is appended: an event never refers to a value that is not durable.

    The sealed id follows from the command id, so a command that is retried seals the same row again and a retry
    with another value is noticed by the key service, which alone can compare.
    """

    aggregates: Aggregates
    sealer: Sealer

    async def handle(self, _subject: str, command: ConfigVariableCommand) -> ConfigVariableOutcome:
        checked_variable_name(command.name)
        return await retried(lambda: self._attempt(command))

    async def _attempt(self, command: ConfigVariableCommand) -> ConfigVariableOutcome:
        org = command.caller.org
        loaded = await self.aggregates.load(CONFIG_VARIABLE, org, KIND, command.name)
        earlier = loaded.find(command.command_id)
        if earlier is not None:
            await self._check_same(command, earlier, loaded.state)
            return _outcome(command.name, _until(loaded, earlier.sequence), replayed=True)
        _check_expected(command, loaded.sequence)
        sealed_id = derived_id("sealed", org, command.command_id)
        # Decided once without the value, so that a command that is not allowed seals nothing.
        if not decide(_command(command, SealedRef(sealed_id, "")), loaded.state):
            return _outcome(command.name, loaded, replayed=False)
        sealed = await self._sealed(command, sealed_id, loaded.state)
        (event,) = decide(_command(command, sealed), loaded.state)
        state = evolve(loaded.state, event)
        version = event.version if isinstance(event, ConfigVariableVersionDestroyed) else state.version
        resource = Resource(KIND, command.name, version)
        recorded = await self.aggregates.append(loaded, event, resource, command.caller, command.command_id)
        return _outcome(command.name, Loaded(state, (*loaded.history, recorded)), replayed=False)

    async def _sealed(self, command: ConfigVariableCommand, sealed_id: str, state: ConfigVariable) -> SealedRef:
        org, name = command.caller.org, command.name
        if command.command in ("create", "rotate"):
            return await self.sealer.seal(sealed_id, org, name, _value(command))
        if command.command == "roll_back":
            source = state.value_of(_version(command))
            if source is not None:
                return await self.sealer.reseal(sealed_id, org, name, source)
        return SealedRef("", "")

    async def _check_same(
        self, command: ConfigVariableCommand, earlier: RecordedEvent, state: ConfigVariable
    ) -> None:
        event = earlier.event
        same = isinstance(event, _EVENT_OF[command.command])
        for field in ("description", "sensitive"):
            wanted = getattr(command, field)
            same = same and (wanted is None or getattr(event, field, wanted) == wanted)
        if command.command == "roll_back":
            same = same and event.from_version == command.to_version
        if command.command == "destroy_version":
            same = same and event.version == command.version
        if not same:
            raise KtError(
                "idempotency_mismatch",
                "This Idempotency-Key was used for a different request on this variable; nothing was changed.",
                "Use a new key for a new request.",
            )
        # Comparing means sealing, and a value that a deletion destroyed must not be stored again.
        if command.value is not None and event.sealed in (sealed for _, sealed in state.values):
            await self.sealer.seal(event.sealed.id, command.caller.org, command.name, command.value)


def _command(
    command: ConfigVariableCommand, sealed: SealedRef
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


def _value(command: ConfigVariableCommand) -> BoxedValue:
    if command.value is None:
        raise KtError("invalid_request", f"To {command.command} a variable takes a value.")
    return command.value


def _version(command: ConfigVariableCommand) -> int:
    if command.to_version is None:
        raise KtError("invalid_request", "To roll back takes the version to go back to.")
    return command.to_version


def _destroyed_version(command: ConfigVariableCommand) -> int:
    if command.version is None:
        raise KtError("invalid_request", "To destroy a version takes its number.")
    return command.version


def _check_expected(command: ConfigVariableCommand, sequence: int) -> None:
    if command.expected_sequence is not None and command.expected_sequence != sequence:
        raise KtError(
            "precondition_failed",
            "The variable was changed since the ETag in If-Match was read; nothing was stored.",
            "Read it again, then repeat the change with the new ETag.",
        )


def _until(loaded: Loaded[ConfigVariable], sequence: int) -> Loaded[ConfigVariable]:
    history = tuple(e for e in loaded.history if e.sequence <= sequence)
    return Loaded(CONFIG_VARIABLE.fold(e.event for e in history), history)


def _outcome(name: str, loaded: Loaded[ConfigVariable], *, replayed: bool) -> ConfigVariableOutcome:
    state, last = loaded.state, loaded.history[-1]
    created = next(e for e in reversed(loaded.history) if type(e.event).__name__ == "ConfigVariableCreated")
    return ConfigVariableOutcome(
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

"""The config variable: a name whose values are replaced, rolled back and destroyed, never edited."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, assert_never

from libs.common.decider import Decider
from libs.common.errors import KtError
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

MAX_DESCRIPTION: Final = 1024


@dataclass(frozen=True, slots=True)
class Create:
    description: str
    sensitive: bool
    sealed: SealedRef


@dataclass(frozen=True, slots=True)
class Update:
    """What is None stays as it is."""

    description: str | None
    sensitive: bool | None


@dataclass(frozen=True, slots=True)
class Rotate:
    sealed: SealedRef


@dataclass(frozen=True, slots=True)
class RollBack:
    """``sealed`` holds the value of ``to_version``, sealed anew."""

    to_version: int
    sealed: SealedRef


@dataclass(frozen=True, slots=True)
class Delete:
    pass


@dataclass(frozen=True, slots=True)
class DestroyVersion:
    """Destroys the value of one older version; the variable and its other versions stay."""

    version: int


ConfigVariableCommand = Create | Update | Rotate | RollBack | Delete | DestroyVersion


@dataclass(frozen=True, slots=True)
class ConfigVariable:
    """``values`` are the sealed values there are, by version; a deletion destroys them all.

    ``version`` goes on counting when a deleted name is created again, so a version never means two values, and one
    from 1 to ``version`` that has none was destroyed.
    """

    exists: bool = False
    version: int = 0
    description: str = ""
    sensitive: bool = True
    values: tuple[tuple[int, SealedRef], ...] = ()

    def value_of(self, version: int) -> SealedRef | None:
        return dict(self.values).get(version)

    def is_destroyed(self, version: int) -> bool:
        return 1 <= version <= self.version and self.value_of(version) is None


def decide(command: ConfigVariableCommand, state: ConfigVariable) -> Sequence[ConfigVariableEvent]:
    """What follows from a command; nothing when nothing would change.

    Raises:
        KtError: ``already_exists``, ``not_found`` or ``invalid_request``.
    """
    if isinstance(command, Create):
        if state.exists:
            raise KtError(
                "already_exists",
                "A config variable of this name exists.",
                "Rotate it to give it a new value, or choose another name.",
            )
        _check_description(command.description)
        return [ConfigVariableCreated(state.version + 1, command.description, command.sensitive, command.sealed)]
    if not state.exists:
        raise KtError("not_found", "There is no config variable of this name.", "`kt vars list` shows what there is.")
    match command:
        case Update():
            return _update(command, state)
        case Rotate():
            return [ConfigVariableRotated(state.version + 1, command.sealed)]
        case RollBack():
            _check_roll_back(command.to_version, state)
            return [ConfigVariableRolledBack(state.version + 1, command.to_version, command.sealed)]
        case Delete():
            return [ConfigVariableDeleted(state.version)]
        case DestroyVersion():
            return _destroy(command.version, state)
        case _:
            assert_never(command)


def evolve(state: ConfigVariable, event: ConfigVariableEvent) -> ConfigVariable:
    match event:
        case ConfigVariableCreated():
            return ConfigVariable(
                True, event.version, event.description, event.sensitive, ((event.version, event.sealed),)
            )
        case ConfigVariableUpdated():
            return replace(state, description=event.description, sensitive=event.sensitive)
        case ConfigVariableRotated() | ConfigVariableRolledBack():
            return replace(state, version=event.version, values=(*state.values, (event.version, event.sealed)))
        case ConfigVariableDeleted():
            return ConfigVariable(version=state.version)
        case ConfigVariableVersionDestroyed():
            return replace(state, values=tuple(entry for entry in state.values if entry[0] != event.version))
        case _:
            assert_never(event)


def _update(command: Update, state: ConfigVariable) -> Sequence[ConfigVariableEvent]:
    if state.sensitive and command.sensitive is False:
        raise KtError(
            "invalid_request",
            "A sensitive variable stays sensitive: clearing the flag would show its stored value.",
            "Delete it and create it again with `sensitive` false.",
        )
    changed = replace(
        state,
        description=state.description if command.description is None else command.description,
        sensitive=state.sensitive if command.sensitive is None else command.sensitive,
    )
    _check_description(changed.description)
    return [] if changed == state else [ConfigVariableUpdated(changed.description, changed.sensitive)]


def _check_description(description: str) -> None:
    if len(description) > MAX_DESCRIPTION:
        raise KtError("invalid_request", f"The description has more than {MAX_DESCRIPTION:,} characters.")


def _check_roll_back(to_version: int, state: ConfigVariable) -> None:
    if to_version == state.version:
        raise KtError("invalid_request", f"Version {to_version} is the current one; expected an older version.")
    if state.value_of(to_version) is None:
        what = (
            f"The value of version {to_version} was destroyed, so there is nothing to go back to"
            if state.is_destroyed(to_version)
            else f"There is no version {to_version} to go back to"
        )
        raise KtError("not_found", f"{what}; {_older(state)}.", "`kt vars history NAME` lists them.")


def _destroy(version: int, state: ConfigVariable) -> Sequence[ConfigVariableEvent]:
    if version == state.version:
        raise KtError(
            "invalid_request",
            f"Version {version} is the current one; expected an older version.",
            "Rotate the variable first, or delete it with all its versions.",
        )
    if state.is_destroyed(version):
        return []
    sealed = state.value_of(version)
    if sealed is None:
        raise KtError(
            "not_found", f"There is no version {version}; {_older(state)}.", "`kt vars history NAME` lists them."
        )
    return [ConfigVariableVersionDestroyed(version, sealed)]


def _older(state: ConfigVariable) -> str:
    known = ", ".join(str(version) for version, _ in state.values[:-1][-10:]) or "none"
    return f"older versions with a value: {known}"


CONFIG_VARIABLE: Decider[ConfigVariableCommand, ConfigVariable, ConfigVariableEvent] = Decider(
    ConfigVariable(), decide, evolve
)

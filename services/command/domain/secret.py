"""A secret of any kind: a name whose values are replaced, rolled back and destroyed, never edited."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final, assert_never

from libs.common.decider import Decider
from libs.common.errors import KtError
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
from libs.common.secret_kinds import SecretKind

MAX_DESCRIPTION: Final = 1024


@dataclass(frozen=True, slots=True)
class Create:
    description: str
    sensitive: bool
    sealed: SealedRef


@dataclass(frozen=True, slots=True)
class TakeOver:
    """What an older plaintext row held; ``sealed`` holds its value."""

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
    """Destroys the value of one older version; the secret and its other versions stay."""

    version: int


SecretCommand = Create | TakeOver | Update | Rotate | RollBack | Delete | DestroyVersion


@dataclass(frozen=True, slots=True)
class SecretState:
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


def decide(kind: SecretKind, command: SecretCommand, state: SecretState) -> Sequence[SecretEvent]:
    """What follows from a command; nothing when nothing would change.

    Raises:
        KtError: ``already_exists``, ``not_found`` or ``invalid_request``.
    """
    if isinstance(command, Create | TakeOver):
        return [_created(kind, command, state)]
    if not state.exists:
        raise KtError(
            "not_found", f"There is no {kind.noun} of this name.", f"`{kind.command} list` shows what there is."
        )
    match command:
        case Update():
            return _update(kind, command, state)
        case Rotate():
            return [kind.rotated(state.version + 1, command.sealed)]
        case RollBack():
            _check_roll_back(kind, command.to_version, state)
            return [kind.rolled_back(state.version + 1, command.to_version, command.sealed)]
        case Delete():
            return [kind.deleted(state.version)]
        case DestroyVersion():
            return _destroy(kind, command.version, state)
        case _:
            assert_never(command)


def evolve(state: SecretState, event: SecretEvent) -> SecretState:
    match event:
        case SecretCreated():
            return SecretState(
                True, event.version, event.description, event.sensitive, ((event.version, event.sealed),)
            )
        case SecretUpdated():
            return replace(state, description=event.description, sensitive=event.sensitive)
        case SecretRotated() | SecretRolledBack():
            return replace(state, version=event.version, values=(*state.values, (event.version, event.sealed)))
        case SecretDeleted():
            return SecretState(version=state.version)
        case SecretVersionDestroyed():
            return replace(state, values=tuple(entry for entry in state.values if entry[0] != event.version))
        case _:
            assert_never(event)


def _created(kind: SecretKind, command: Create | TakeOver, state: SecretState) -> SecretEvent:
    if isinstance(command, TakeOver):
        return _taken_over(kind, command, state)
    if state.exists:
        raise KtError(
            "already_exists",
            f"A {kind.noun} of this name exists.",
            "Rotate it to give it a new value, or choose another name.",
        )
    if kind.always_sensitive and not command.sensitive:
        raise KtError("invalid_request", f"A {kind.noun} is always sensitive.")
    _check_description(command.description)
    return kind.created(state.version + 1, command.description, command.sensitive, command.sealed)


def _taken_over(kind: SecretKind, command: TakeOver, state: SecretState) -> SecretEvent:
    """A name that ever had a value here has left the older rows behind, also when it was deleted since."""
    if kind.taken_over is None:
        raise KtError("invalid_request", f"A {kind.noun} can't be taken over from an older row.")
    if state.version:
        raise KtError("already_exists", "The name has a history of its own; an older plaintext row can't follow it.")
    _check_description(command.description)
    return kind.taken_over(1, command.description, command.sensitive, command.sealed)


def _update(kind: SecretKind, command: Update, state: SecretState) -> Sequence[SecretEvent]:
    if state.sensitive and command.sensitive is False:
        raise KtError(
            "invalid_request",
            f"A sensitive {kind.noun} stays sensitive: clearing the flag would show its stored value.",
            "" if kind.always_sensitive else "Delete it and create it again with `sensitive` false.",
        )
    changed = replace(
        state,
        description=state.description if command.description is None else command.description,
        sensitive=state.sensitive if command.sensitive is None else command.sensitive,
    )
    _check_description(changed.description)
    return [] if changed == state else [kind.updated(changed.description, changed.sensitive)]


def _check_description(description: str) -> None:
    if len(description) > MAX_DESCRIPTION:
        raise KtError("invalid_request", f"The description has more than {MAX_DESCRIPTION:,} characters.")


def _check_roll_back(kind: SecretKind, to_version: int, state: SecretState) -> None:
    if to_version == state.version:
        raise KtError("invalid_request", f"Version {to_version} is the current one; expected an older version.")
    if state.value_of(to_version) is None:
        what = (
            f"The value of version {to_version} was destroyed, so there is nothing to go back to"
            if state.is_destroyed(to_version)
            else f"There is no version {to_version} to go back to"
        )
        raise KtError("not_found", f"{what}; {_older(state)}.", f"`{kind.command} history NAME` lists them.")


def _destroy(kind: SecretKind, version: int, state: SecretState) -> Sequence[SecretEvent]:
    if version == state.version:
        raise KtError(
            "invalid_request",
            f"Version {version} is the current one; expected an older version.",
            f"Rotate the {kind.noun} first, or delete it with all its versions.",
        )
    if state.is_destroyed(version):
        return []
    sealed = state.value_of(version)
    if sealed is None:
        raise KtError(
            "not_found",
            f"There is no version {version}; {_older(state)}.",
            f"`{kind.command} history NAME` lists them.",
        )
    return [kind.version_destroyed(version, sealed)]


def _older(state: SecretState) -> str:
    known = ", ".join(str(version) for version, _ in state.values[:-1][-10:]) or "none"
    return f"older versions with a value: {known}"


SecretDecider = Decider[SecretCommand, SecretState, SecretEvent]


def secret_decider(kind: SecretKind) -> SecretDecider:
    return Decider(SecretState(), partial(decide, kind), evolve)

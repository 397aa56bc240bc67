"""What there is to know of the keys, and what it means for whoever runs the system."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from services.keys.domain.damage import Damage
from services.keys.domain.deep_rotation import DeepRotation
from services.keys.domain.keyring import KeyringEntry, Purpose
from services.keys.domain.master import VARIABLE


class KeyState(StrEnum):
    CURRENT = "current"
    RETIRED = "retired"
    """Protects nothing new, and still opens what is old."""
    DAMAGED = "damaged"
    FOREIGN = "foreign"
    """Wrapped under a master key that was not given."""


@dataclass(frozen=True, slots=True)
class KeyUse:
    """An entry and how many sealed values have their data key wrapped under it."""

    entry: KeyringEntry
    state: KeyState
    sealed_values: int


@dataclass(frozen=True, slots=True)
class MasterUse:
    """A master key and how many keys of the whole system are wrapped under it.

    ``given``: ``current`` or ``previous``, as this process was given it, or empty.
    """

    fingerprint: str
    given: str
    keys: int


@dataclass(frozen=True, slots=True)
class KeysStatus:
    """The keys of an org and those that belong to none. ``wrapped_under`` names the master key of the keyring."""

    wrapped_under: str
    masters: tuple[MasterUse, ...]
    keys: tuple[KeyUse, ...]
    deep_rotation: DeepRotation | None
    damaged: tuple[Damage, ...]

    @property
    def current(self) -> str:
        return next(master.fingerprint for master in self.masters if master.given == "current")

    @property
    def previous(self) -> tuple[str, ...]:
        return tuple(master.fingerprint for master in self.masters if master.given == "previous")


def summary(status: KeysStatus) -> tuple[str, ...]:
    """Sentences for people: what can be removed, what is still needed and by what, what is wrong."""
    return (*_of_masters(status), *_of_keys(status), *_of_rotation(status), *_of_values(status))


def _of_masters(status: KeysStatus) -> Iterator[str]:
    for master in status.masters:
        wrapped = f"{_keys(master.keys)} wrapped under"
        if master.fingerprint == status.wrapped_under:
            yield f"{wrapped} the master key {master.fingerprint}."
            if master.given == "previous":
                yield (
                    "It was given as a previous key here: another instance was started with it as the current one,"
                    " and has taken the last rotation back."
                )
        elif master.given == "previous" and not master.keys:
            yield (
                f"Nothing needs the previous master key {master.fingerprint} any more: it can be removed from"
                f" {VARIABLE}_PREVIOUS. Backups of the sealed store from before the rotation open with it and with no"
                " other key: keep a copy as long as you keep them."
            )
        elif master.given:
            yield (
                f"{wrapped} {master.fingerprint}, which is still needed: the next start of the key service wraps them"
                " anew."
                if master.keys
                else f"Nothing is wrapped under the master key {master.fingerprint} yet."
            )
        else:
            yield (
                f"{wrapped} the master key {master.fingerprint}, which the key service was not given: they can't be"
                f" opened. If they were put back from a backup, start it with that key among {VARIABLE}_PREVIOUS."
            )


def _of_keys(status: KeysStatus) -> Iterator[str]:
    rotation = status.deep_rotation
    in_work = rotation.old_keys if rotation is not None and rotation.completed_at is None else ()
    for use in status.keys:
        if use.state is KeyState.DAMAGED:
            yield (
                f"The key {use.entry.id} ({use.entry.purpose}) is damaged:"
                f" {_values(use.sealed_values)} under it can't be opened. Put it back from a backup."
            )
        kept = use.state is KeyState.RETIRED and use.entry.purpose == Purpose.KEY_ENCRYPTION
        if kept and use.entry.id not in in_work:
            yield (
                f"The retired key {use.entry.id} is kept for {_values(use.sealed_values)} still under it. A deep"
                " rotation moves those that open; the key is destroyed once none is left."
            )


def _of_rotation(status: KeysStatus) -> Iterator[str]:
    rotation = status.deep_rotation
    if rotation is not None and rotation.completed_at is None:
        yield f"A deep rotation is running: {rotation.rewrapped:,} of {rotation.data_keys:,} data keys wrapped anew."


def _of_values(status: KeysStatus) -> Iterator[str]:
    if status.damaged:
        yield (
            f"{_values(len(status.damaged))} can't be opened. Nothing else is affected. Rotate or delete what they"
            " belong to, or put their rows back from a backup."
        )


def _keys(count: int) -> str:
    return "1 key is" if count == 1 else f"{count:,} keys are"


def _values(count: int) -> str:
    return "1 value" if count == 1 else f"{count:,} values"

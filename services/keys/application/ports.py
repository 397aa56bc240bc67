"""What the use cases need from the outside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from services.keys.domain.keyring import KeyringEntry, Purpose
from services.keys.domain.sealed import SealedValue


class Entropy(Protocol):
    def __call__(self, size: int, /) -> bytes:
        """That many bytes fit for keys."""


@dataclass(frozen=True, slots=True)
class RotationNotice:
    """An org's keys were wrapped anew under another master key. ``rewrapped`` counts the system-wide ones too."""

    id: str
    org: str
    from_fingerprint: str
    to_fingerprint: str
    rewrapped: int


class KeyringTransaction(Protocol):
    """Sees and changes the keyring alone: every other writer, in any process, waits until it ends."""

    async def entries(self) -> Sequence[KeyringEntry]: ...

    async def current(self, org: str, purpose: Purpose) -> KeyringEntry | None:
        """The entry that new work uses; retired ones only open what is old."""

    async def add(self, entry: KeyringEntry) -> None: ...

    async def rewrap(self, entry: KeyringEntry) -> None:
        """Replace how the entry with this id is wrapped; nothing else of it changes."""

    async def retire(self, key_id: str, now: datetime) -> None: ...

    async def has_sealed_values(self) -> bool: ...

    async def notice(self, notice: RotationNotice) -> None:
        """Remember, together with the change, what has still to be put on record."""


class KeyringStore(Protocol):
    def writing(self) -> AbstractAsyncContextManager[KeyringTransaction]:
        """A transaction under the keyring's lock: commits at the end of the block, changes nothing if it raises.

        Raises:
            KtError: ``unavailable`` when the lock can't be had in time.
        """

    async def entries(self) -> Sequence[KeyringEntry]: ...

    async def revision(self) -> str:
        """Another text after every change of the keyring."""

    async def values_by_key(self) -> Mapping[str, int]:
        """How many sealed values depend on each key-encryption key."""


class RotationNotices(Protocol):
    async def pending(self) -> Sequence[RotationNotice]: ...

    async def done(self, notice_id: str) -> None: ...


class RotationRecorder(Protocol):
    async def record(self, notice: RotationNotice) -> None:
        """Store the event; once, however often it is asked. Raises: KtError when that is not sure."""


class SealedStore(Protocol):
    async def put(self, sealed: SealedValue, now: datetime) -> SealedValue | None:
        """Store a value under its id unless there is one, and return the one that is then stored, durably.

        Either way the value counts as sealed at ``now``. ``None``: its key-encryption key is not in use any more.
        """

    async def fetch(self, sealed_ids: Sequence[str]) -> Mapping[str, SealedValue]:
        """The values with these ids; those that don't exist are left out."""

    async def sweep(self, sealed_before: datetime) -> int:
        """Delete the values that no event refers to and that were last sealed before that time; how many."""

"""What the use cases need from the outside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

from libs.common.legacy_rows import LegacyRow, UnusableRow
from libs.common.protocol.backups import AuthenticateBackup
from services.keys.domain.checkpoint_signing import Head
from services.keys.domain.damage import Damage
from services.keys.domain.deep_rotation import DeepRotation
from services.keys.domain.keyring import KeyringEntry, Purpose
from services.keys.domain.sealed import Binding, SealedValue


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

    async def deep_rotation(self, rotation_id: str) -> DeepRotation | None: ...

    async def running_deep_rotation(self, org: str) -> DeepRotation | None: ...

    async def begin(self, rotation: DeepRotation) -> None:
        """Keep a deep rotation that begins, together with the change of keys; or change the keys of a running one."""

    async def values_under(self, key_ids: Sequence[str]) -> Mapping[str, int]:
        """How many values are sealed under each of these keys."""

    async def is_settled(self, rotation: DeepRotation, key_ids: Sequence[str]) -> bool:
        """Whether nothing is left to move from these keys, and nothing can come: no statement is under way that
        began before they were retired."""

    async def damaged_under(self, key_id: str) -> int:
        """How many values sealed under a key are known not to open."""

    async def destroy(self, key_id: str) -> None:
        """Delete the entry with this id."""

    async def complete(self, rotation: DeepRotation) -> None: ...


class KeyringStore(Protocol):
    def writing(self) -> AbstractAsyncContextManager[KeyringTransaction]:
        """A transaction under the keyring's lock: commits at the end of the block, changes nothing if it raises.

        Raises:
            KtError: ``unavailable`` when the lock can't be had in time.
        """

    async def entries(self) -> Sequence[KeyringEntry]: ...

    async def revision(self) -> str:
        """Another text after every change of the keyring."""

    async def values_under(self, key_ids: Sequence[str]) -> Mapping[str, int]:
        """How many sealed values depend on each of these key-encryption keys."""


class RotationNotices(Protocol):
    async def pending(self) -> Sequence[RotationNotice]: ...

    async def done(self, notice_id: str) -> None: ...


class RotationRecorder(Protocol):
    async def record(self, notice: RotationNotice) -> None:
        """Store the event; once, however often it is asked. Raises: KtError when that is not sure."""


class DeepRotationRecorder(Protocol):
    async def record_deep_rotation(self, rotation: DeepRotation) -> None:
        """Store that it began, or that it is completed; as ``record``."""


@dataclass(frozen=True, slots=True)
class RestoreNotice:
    """The sealed store came out of an archive. Moments are RFC 3339."""

    id: str
    manifest_sha256: str
    taken_at: str
    restored_at: str
    into: Literal["home", "engines"]


class RestoreNotices(Protocol):
    async def pending_restores(self) -> Sequence[RestoreNotice]: ...

    async def restore_recorded(self, notice_id: str) -> None: ...


class BackupRecorder(Protocol):
    """Each stores the event in the log of one org; as ``RotationRecorder``."""

    async def record_backup(self, org: str, made: AuthenticateBackup) -> None: ...

    async def record_restore(self, org: str, notice: RestoreNotice) -> None: ...


class LockedHead(Protocol):
    """What was signed last of one log, while nobody else can sign for any."""

    @property
    def value(self) -> Head | None: ...

    async def move(self, to: Head) -> None: ...


class SignedHeads(Protocol):
    def locked(self, origin: str) -> AbstractAsyncContextManager[LockedHead]:
        """A transaction: what was moved is durable at the end of the block, and stays as it was if it raises."""


class SealedStore(Protocol):
    async def put(self, sealed: SealedValue, now: datetime) -> SealedValue | None:
        """Store a value under its id unless there is one, and return the one that is then stored, durably.

        Either way the value counts as sealed at ``now``. ``None``: its key-encryption key is not in use any more.
        """

    async def fetch(self, sealed_ids: Sequence[str]) -> Mapping[str, SealedValue]:
        """The values with these ids; those that don't exist are left out."""

    async def sweep(self, sealed_before: datetime) -> int:
        """Delete the values that no event refers to and that were last sealed before that time; how many."""


@dataclass(frozen=True, slots=True)
class Survey:
    """All rows of a table, counted; ``examples`` are the first of the unusable ones, in byte order."""

    usable: int
    unusable: int
    examples: Sequence[UnusableRow]


class LegacyTable(Protocol):
    """The earlier system's table. Every method raises KtError ``unavailable`` or ``misconfigured``."""

    async def find(self, names: Sequence[str]) -> Sequence[LegacyRow | UnusableRow]:
        """The rows with these names; a name that several rows have is one unusable row."""

    async def page(self, prefix: str, after: str, limit: int) -> tuple[Sequence[LegacyRow | UnusableRow], str]:
        """Rows whose names have the form of a config variable's, in byte order, and the name of the last one if there
        may be more."""

    async def survey(self, examples: int) -> Survey: ...

    async def delete(self, name: str, version: str) -> bool:
        """Delete the row if it still has this version; whether it did.

        Raises:
            KtError: ``conflict`` when the database refuses it for this row, as a foreign key may.
        """

    async def may_delete(self) -> bool: ...


@dataclass(frozen=True, slots=True)
class DueClaim:
    """A row to delete: the event that takes it over is in the stream."""

    sealed_id: str
    name: str
    row_version: str


class LegacyClaims(Protocol):
    """Which row each sealed value was read from, until the row is deleted."""

    async def claim(self, binding: Binding, row_version: str) -> None:
        """Durable when it returns."""

    async def due(self, limit: int, after: str = "") -> Sequence[DueClaim]:
        """In the order of sealed ids, those behind ``after``."""

    async def count_due(self, org: str) -> int: ...

    async def done(self, sealed_id: str) -> None: ...


class Batch(Protocol):
    """Some values under one key, by id, nobody else's until the transaction ends. Values that somebody else is
    changing are left out: they are met again later."""

    @property
    def values(self) -> Sequence[SealedValue]: ...

    async def save(self, moved: Sequence[SealedValue], damages: Sequence[Damage]) -> None:
        """Store how these are wrapped now, count them, and remember what was found damaged."""


class DeepRotationLead(Protocol):
    """The right to do the work of deep rotations, which one instance has at a time."""

    async def running(self) -> Sequence[DeepRotation]:
        """Oldest first."""

    def batch(self, rotation_id: str, key_id: str, after: str, limit: int) -> AbstractAsyncContextManager[Batch]:
        """At most ``limit`` values under the key with ids behind ``after``, in one transaction."""


class DeepRotations(Protocol):
    async def find(self, org: str, rotation_id: str) -> DeepRotation | None: ...

    async def latest(self, org: str) -> DeepRotation | None: ...

    async def is_work_due(self, transport_before: datetime) -> bool:
        """Whether a deep rotation runs, or there is a retired key that can be destroyed."""

    def leading(self) -> AbstractAsyncContextManager[DeepRotationLead | None]:
        """None while another instance leads."""

    async def unrecorded(self) -> Sequence[DeepRotation]:
        """What is not on record yet, in order: a deep rotation as it began, or as it is completed."""

    async def recorded(self, rotation: DeepRotation) -> None:
        """The record has it as it is here."""


class DamagedValues(Protocol):
    async def report(self, damages: Sequence[Damage]) -> None: ...

    async def listed(self, org: str, limit: int) -> Sequence[Damage]:
        """Those that still exist, or that an event still refers to, by kind and name."""

    async def forget(self, sealed_ids: Sequence[str]) -> None: ...


class DamageNotes(Protocol):
    def note(self, place: Binding, digest: str, why: str) -> None:
        """Log that the value which an event calls so does not open, and remember it soon: nobody waits for that."""

"""What the key service's tests share: time, identifiers and randomness under control, stores in memory."""

from __future__ import annotations

import asyncio
import base64
import os
import random
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import orjson

from libs.common.hpke import BoxPrivateKey
from libs.common.protocol.keys import seal_context
from libs.common.secret import Secret
from services.keys.application.client_tokens import ClientTokens
from services.keys.application.damage import Damages
from services.keys.application.deep_rotation import DeepRotator
from services.keys.application.forge import Forge
from services.keys.application.keyring import Keyring
from services.keys.application.open_keyring import OpenedKeyring, open_keyring
from services.keys.application.opening import Opened, Opening, OpenItem, SealedReference, Unsealer
from services.keys.application.ports import (
    Batch,
    DamagedValues,
    DeepRotationLead,
    DeepRotations,
    KeyringStore,
    KeyringTransaction,
    RotationNotice,
    SealedStore,
)
from services.keys.application.sealing import Sealed, Sealing
from services.keys.application.status import Status
from services.keys.domain.damage import Damage
from services.keys.domain.deep_rotation import DeepRotation
from services.keys.domain.keyring import KeyringEntry, Purpose
from services.keys.domain.master import MasterKey, parse_master_key
from services.keys.domain.sealed import Binding, KeyEncryptionKey, SealedValue

START = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
KIND = "config_variable"
NAME = "OPENAI_API_KEY"


def master(seed: int) -> MasterKey:
    return parse_master_key(Secret(base64.b64encode(random.Random(seed).randbytes(32))))


class FixedClock:
    def __init__(self, moment: datetime = START) -> None:
        self.moment = moment

    def now(self) -> datetime:
        return self.moment

    def advance(self, by: timedelta) -> None:
        self.moment += by


class RandomIds:
    def new(self) -> str:
        return str(uuid.uuid4())


@dataclass(frozen=True)
class Stores:
    """All ports on one database, and what tests need beside them."""

    keyring: KeyringStore
    sealed: SealedStore
    tamper: Tamper
    rotations: DeepRotations
    damaged: DamagedValues


class Tamper(Protocol):
    """Changes rows behind the service's back, as whoever controls the disk could."""

    async def entry(self, key_id: str, **columns: Any) -> None: ...

    async def value(self, sealed_id: str, **columns: Any) -> None: ...

    async def drop_entries(self) -> None: ...

    async def drop_value(self, sealed_id: str) -> None: ...

    async def refer(self, binding: Binding, sequence: int) -> None: ...


@dataclass
class Memory:
    """Implements all ports in memory."""

    entries_: dict[str, KeyringEntry] = field(default_factory=dict)
    values: dict[str, SealedValue] = field(default_factory=dict)
    sealed_at: dict[str, datetime] = field(default_factory=dict)
    references: set[Binding] = field(default_factory=set)
    notices: list[RotationNotice] = field(default_factory=list)
    rotations: dict[str, DeepRotation] = field(default_factory=dict)
    records: dict[str, int] = field(default_factory=dict)
    damaged: dict[str, Damage] = field(default_factory=dict)
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    lead: asyncio.Lock = field(default_factory=asyncio.Lock)

    def stores(self) -> Stores:
        return Stores(self, self, self, self, self)

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[KeyringTransaction]:
        async with self.lock:
            copy = Memory(
                dict(self.entries_),
                self.values,
                notices=list(self.notices),
                rotations=dict(self.rotations),
                damaged=self.damaged,
            )
            yield copy
            self.entries_, self.notices, self.rotations = copy.entries_, copy.notices, copy.rotations

    async def entries(self) -> Sequence[KeyringEntry]:
        return list(self.entries_.values())

    async def revision(self) -> str:
        return str(sorted((e.id, e.master_fingerprint, str(e.retired_at)) for e in self.entries_.values()))

    async def current(self, org: str, purpose: Purpose) -> KeyringEntry | None:
        return next(
            (e for e in self.entries_.values() if (e.org, e.purpose, e.retired_at) == (org, purpose, None)), None
        )

    async def add(self, entry: KeyringEntry) -> None:
        if entry.retired_at is None and await self.current(entry.org, Purpose(entry.purpose)):
            raise AssertionError("one current key per org and purpose")
        self.entries_[entry.id] = entry

    async def rewrap(self, entry: KeyringEntry) -> None:
        self.entries_[entry.id] = entry

    async def retire(self, key_id: str, now: datetime) -> None:
        entry = self.entries_[key_id]
        self.entries_[key_id] = replace(entry, retired_at=entry.retired_at or now)

    async def notice(self, notice: RotationNotice) -> None:
        self.notices.append(notice)

    async def has_sealed_values(self) -> bool:
        return bool(self.values)

    async def put(self, sealed: SealedValue, now: datetime) -> SealedValue | None:
        entry = self.entries_.get(sealed.key_id)
        if entry is None or entry.retired_at is not None:
            return None
        self.sealed_at[sealed.binding.sealed_id] = now
        return self.values.setdefault(sealed.binding.sealed_id, sealed)

    async def fetch(self, sealed_ids: Sequence[str]) -> Mapping[str, SealedValue]:
        return {i: self.values[i] for i in sealed_ids if i in self.values}

    async def sweep(self, sealed_before: datetime) -> int:
        swept = [
            sealed_id
            for sealed_id, value in self.values.items()
            if self.sealed_at[sealed_id] < sealed_before and value.binding not in self.references
        ]
        for sealed_id in swept:
            del self.values[sealed_id]
        return len(swept)

    async def deep_rotation(self, rotation_id: str) -> DeepRotation | None:
        return self.rotations.get(rotation_id)

    async def running_deep_rotation(self, org: str) -> DeepRotation | None:
        return next((r for r in self.rotations.values() if r.org == org and r.completed_at is None), None)

    async def begin(self, rotation: DeepRotation) -> None:
        self.rotations[rotation.id] = rotation

    async def values_under(self, key_ids: Sequence[str]) -> Mapping[str, int]:
        return Counter(value.key_id for value in self.values.values() if value.key_id in key_ids)

    async def is_settled(self, rotation: DeepRotation, key_ids: Sequence[str]) -> bool:
        return all(i in self.damaged for i, value in self.values.items() if value.key_id in key_ids)

    async def damaged_under(self, key_id: str) -> int:
        return sum(i in self.damaged for i, value in self.values.items() if value.key_id == key_id)

    async def destroy(self, key_id: str) -> None:
        del self.entries_[key_id]

    async def complete(self, rotation: DeepRotation) -> None:
        self.rotations[rotation.id] = rotation

    async def find(self, org: str, rotation_id: str) -> DeepRotation | None:
        return next((r for r in self.rotations.values() if (r.org, r.id) == (org, rotation_id)), None)

    async def latest(self, org: str) -> DeepRotation | None:
        return max((r for r in self.rotations.values() if r.org == org), key=lambda r: r.started_at, default=None)

    async def is_work_due(self, transport_before: datetime) -> bool:
        return True

    @asynccontextmanager
    async def leading(self) -> AsyncIterator[DeepRotationLead | None]:
        if self.lead.locked():
            yield None
            return
        async with self.lead:
            yield self

    async def running(self) -> Sequence[DeepRotation]:
        return [rotation for rotation in self.rotations.values() if rotation.completed_at is None]

    @asynccontextmanager
    async def batch(self, rotation_id: str, key_id: str, after: str, limit: int) -> AsyncIterator[Batch]:
        found = sorted(i for i, value in self.values.items() if value.key_id == key_id and i > after)
        yield MemoryBatch(self, rotation_id, [self.values[i] for i in found[:limit]])

    async def unrecorded(self) -> Sequence[DeepRotation]:
        return [stage for r in self.rotations.values() for stage in r.stages(self.records.get(r.id, 0))]

    async def recorded(self, rotation: DeepRotation) -> None:
        self.records[rotation.id] = 2 if rotation.completed_at else 1

    async def report(self, damages: Sequence[Damage]) -> None:
        for damage in damages:
            known = self.damaged.get(damage.sealed_id, damage)
            self.damaged[damage.sealed_id] = replace(
                damage, found_at=known.found_at, digest=damage.digest or known.digest
            )

    async def listed(self, org: str, limit: int) -> Sequence[Damage]:
        referred = {binding.sealed_id for binding in self.references}
        found = [d for d in self.damaged.values() if d.org == org and d.sealed_id in self.values.keys() | referred]
        return sorted(found, key=lambda d: (d.kind, d.name, d.sealed_id))[:limit]

    async def forget(self, sealed_ids: Sequence[str]) -> None:
        for sealed_id in sealed_ids:
            self.damaged.pop(sealed_id, None)

    async def entry(self, key_id: str, **columns: Any) -> None:
        self.entries_[key_id] = replace(self.entries_[key_id], **columns)

    async def value(self, sealed_id: str, **columns: Any) -> None:
        value = self.values[sealed_id]
        place = {k: columns.pop(k) for k in ("org", "kind", "name") if k in columns}
        self.values[sealed_id] = replace(value, binding=replace(value.binding, **place), **columns)

    async def drop_entries(self) -> None:
        self.entries_.clear()

    async def drop_value(self, sealed_id: str) -> None:
        del self.values[sealed_id]

    async def refer(self, binding: Binding, sequence: int) -> None:
        self.references.add(binding)


@dataclass
class MemoryBatch:
    memory: Memory
    rotation_id: str
    values: Sequence[SealedValue]

    async def save(self, moved: Sequence[SealedValue], damages: Sequence[Damage]) -> None:
        self.memory.values |= {value.binding.sealed_id: value for value in moved}
        rotation = self.memory.rotations[self.rotation_id]
        self.memory.rotations[rotation.id] = replace(rotation, rewrapped=rotation.rewrapped + len(moved))
        await self.memory.report(damages)


@dataclass
class Instance:
    """One process of the key service on some stores."""

    stores: Stores
    forge: Forge
    opened: OpenedKeyring
    keyring: Keyring
    sealing: Sealing
    unsealer: Unsealer
    opening: Opening
    client_tokens: ClientTokens
    status: Status
    rotator: DeepRotator
    damages: Damages
    names: dict[str, str] = field(default_factory=dict)
    """By the id of what was sealed here."""

    async def box(self, value: bytes, org: str = "default", name: str = NAME, kind: str = KIND) -> tuple[str, bytes]:
        """A value as the api sends it: the id of the transport key, and the box."""
        key = await self.keyring.transport()
        return key.id, key.private.public.seal(Secret(value), seal_context(org, kind, name))

    async def seal(
        self, value: bytes, *, org: str = "default", name: str = NAME, sealed_id: str = "", kind: str = KIND
    ) -> Sealed:
        binding = Binding.checked(org, kind, name, sealed_id or str(uuid.uuid4()))
        self.names[binding.sealed_id] = name
        return await self.sealing.seal(binding, *await self.box(value, org, name, kind))

    async def forge_value(self, sealed_id: str, value: bytes) -> SealedValue:
        """A sealed value for an id, as a writer of the database who once had it replaced might put it there."""
        key = await self.keyring.current("default", Purpose.KEY_ENCRYPTION)
        binding = Binding("default", KIND, NAME, sealed_id)
        return self.forge.seal(Secret(value), binding, KeyEncryptionKey(key.entry.id, key.material))

    async def open(
        self, *sealed: Sealed, org: str = "default", name: str = ""
    ) -> tuple[dict[str, bytes], Mapping[str, str]]:
        """What could be opened, by sealed id, and what could not. Without ``name`` each under its own."""
        recipient = BoxPrivateKey.generate()
        items = [
            OpenItem(s.id, KIND, name or self.names.get(s.id, NAME), SealedReference(s.id, s.digest)) for s in sealed
        ]
        opened = await self.opening.open(org, items, recipient.public, b"context")
        return unboxed(opened, recipient), opened.failed


def unboxed(opened: Opened, recipient: BoxPrivateKey, context: bytes = b"context") -> dict[str, bytes]:
    if opened.box is None:
        return {}
    values = orjson.loads(recipient.open(opened.box, context).reveal())
    return {reference: base64.b64decode(value) for reference, value in values.items()}


async def start(
    stores: Stores,
    key: MasterKey,
    previous: Sequence[MasterKey] = (),
    *,
    clock: FixedClock | None = None,
) -> Instance:
    forge = Forge(key, RandomIds(), clock or FixedClock(), os.urandom)
    opened = await open_keyring(stores.keyring, forge, previous)
    keyring = Keyring(stores.keyring, forge, opened.keys, previous)
    unsealer = Unsealer(keyring, stores.sealed)
    damages = Damages(stores.damaged, unsealer, forge.clock)
    return Instance(
        stores=stores,
        forge=forge,
        opened=opened,
        keyring=keyring,
        sealing=Sealing(keyring, stores.sealed, forge, unsealer, damages),
        unsealer=unsealer,
        opening=Opening(unsealer, damages),
        client_tokens=ClientTokens(keyring),
        status=Status(stores.keyring, stores.rotations, damages, (key, *previous)),
        rotator=DeepRotator(keyring, stores.keyring, stores.rotations, forge, batch=3, rest=0),
        damages=damages,
    )


def flipped(raw: bytes, position: int = -1, bit: int = 1) -> bytes:
    changed = bytearray(raw)
    changed[position] ^= bit
    return bytes(changed)

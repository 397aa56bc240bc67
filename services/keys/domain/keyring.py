"""Entries of the keyring: keys at rest, each wrapped under the master key and bound to its place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Final

from libs.common.hpke import BoxPrivateKey
from libs.common.secret import Secret
from services.keys.domain.aead import KEY_BYTES, NotAuthentic, associated_data, decrypt, encrypt
from services.keys.domain.client_tokens import public_key
from services.keys.domain.master import MasterKey

LABEL_KEYRING: Final = "keeptrusts/v1/keyring"
SYSTEM_WIDE: Final = "*"
"""The org of keys that belong to no org."""

TRANSPORT_BYTES: Final = 96


class Purpose(StrEnum):
    """What a key is for. A store may hold others, written by a newer release; they are wrapped the same way."""

    CANARY = "canary"
    """Protects nothing; a master key that opens it is the one the keyring is wrapped under."""
    KEY_ENCRYPTION = "key-encryption"
    """Wraps the data keys of one org."""
    TRANSPORT = "transport"
    """HPKE private key (RFC 9180) that values are addressed to on their way in."""
    CLIENT_TOKEN = "client-token"  # noqa: S105 - a purpose, not a token
    """Ed25519 private key (RFC 8032) that signs the tokens of one org's gateway clients."""
    CHECKPOINT_SIGNING = "checkpoint-signing"
    """Ed25519 private key that signs the checkpoints of the audit log."""


@dataclass(frozen=True, slots=True)
class _Shape:
    algorithm: str
    material_bytes: int


_SHAPES: Final = {
    Purpose.CANARY: _Shape("AES-256-GCM-SIV", KEY_BYTES),
    Purpose.KEY_ENCRYPTION: _Shape("AES-256-GCM-SIV", KEY_BYTES),
    Purpose.TRANSPORT: _Shape("HPKE-MLKEM768-X25519", TRANSPORT_BYTES),
    Purpose.CLIENT_TOKEN: _Shape("Ed25519", KEY_BYTES),
    Purpose.CHECKPOINT_SIGNING: _Shape("Ed25519", KEY_BYTES),
}


@dataclass(frozen=True, slots=True)
class KeyringEntry:
    """One key at rest. ``public`` is the public half, empty for symmetric keys; ``wrapped`` see ``aead``."""

    id: str
    org: str
    purpose: str
    algorithm: str
    wrapped: bytes
    public: bytes
    master_fingerprint: str
    created_at: datetime
    retired_at: datetime | None = None
    """Since when nothing new is protected with it; it still opens what is old."""


@dataclass(frozen=True, slots=True)
class UnwrappedKey:
    """A keyring entry with its key material, as it lives in memory."""

    entry: KeyringEntry
    material: Secret


def material_bytes(purpose: Purpose) -> int:
    """How many random bytes a fresh key takes."""
    return _SHAPES[purpose].material_bytes


def new_key(
    purpose: Purpose, *, key_id: str, org: str, material: Secret, nonce: bytes, master: MasterKey, now: datetime
) -> UnwrappedKey:
    """A key made of ``material``, :func:`material_bytes` of randomness, wrapped under ``master``."""
    if len(material) != material_bytes(purpose):
        raise ValueError(f"a {purpose} key takes {material_bytes(purpose)} random bytes")
    entry = KeyringEntry(
        id=key_id,
        org=org,
        purpose=purpose.value,
        algorithm=_SHAPES[purpose].algorithm,
        wrapped=b"",
        public=_public_half(purpose, material),
        master_fingerprint="",
        created_at=now,
    )
    return wrap(UnwrappedKey(entry, material), nonce, master)


def wrap(key: UnwrappedKey, nonce: bytes, master: MasterKey) -> UnwrappedKey:
    """The same key wrapped under another master key."""
    wrapped = encrypt(master.wrapping_key, nonce, key.material, _place(key.entry))
    return replace(key, entry=replace(key.entry, wrapped=wrapped, master_fingerprint=master.fingerprint))


def unwrap(entry: KeyringEntry, master: MasterKey) -> UnwrappedKey:
    """Open an entry, whatever fingerprint it names.

    Raises:
        NotAuthentic: wrapped under another master key, moved to another id, org or purpose, or changed.
    """
    return UnwrappedKey(entry, decrypt(master.wrapping_key, entry.wrapped, _place(entry)))


@dataclass(frozen=True, slots=True)
class Inspection:
    """What the given master keys make of a keyring. Every entry is in exactly one of the four."""

    current: tuple[UnwrappedKey, ...]
    superseded: tuple[UnwrappedKey, ...]
    """Opened by a previous key, or labelled with another fingerprint than the one that opens them."""
    damaged: tuple[KeyringEntry, ...]
    """Labelled with a key that was given, which does not open them."""
    foreign: tuple[KeyringEntry, ...]
    """Wrapped under a key that was not given."""


def inspect(entries: Sequence[KeyringEntry], current: MasterKey, previous: Sequence[MasterKey]) -> Inspection:
    """Try every entry with every key: fingerprints only tell which key is missing, they prove nothing."""
    given = {master.fingerprint for master in (current, *previous)}
    good: list[UnwrappedKey] = []
    old: list[UnwrappedKey] = []
    damaged: list[KeyringEntry] = []
    foreign: list[KeyringEntry] = []
    for entry in entries:
        opened = unwrap_with_any(entry, (current, *previous))
        if opened is None:
            (damaged if entry.master_fingerprint in given else foreign).append(entry)
        elif opened[1] is current and entry.master_fingerprint == current.fingerprint:
            good.append(opened[0])
        else:
            old.append(opened[0])
    return Inspection(tuple(good), tuple(old), tuple(damaged), tuple(foreign))


def unwrap_with_any(entry: KeyringEntry, masters: Sequence[MasterKey]) -> tuple[UnwrappedKey, MasterKey] | None:
    """The key and the first master key that opens it; None when none does."""
    for master in masters:
        try:
            return unwrap(entry, master), master
        except NotAuthentic:
            continue
    return None


def _place(entry: KeyringEntry) -> bytes:
    return associated_data(LABEL_KEYRING, entry.id, entry.org, entry.purpose, entry.algorithm, entry.public)


def _public_half(purpose: Purpose, material: Secret) -> bytes:
    if purpose is Purpose.TRANSPORT:
        return BoxPrivateKey(material).public.encoded
    if purpose in (Purpose.CLIENT_TOKEN, Purpose.CHECKPOINT_SIGNING):
        return public_key(material)
    return b""

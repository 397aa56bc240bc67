"""Deep rotation: an org gets a new key-encryption key, under which all its data keys are wrapped anew."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Self

from services.keys.domain.aead import NotAuthentic
from services.keys.domain.sealed import KeyEncryptionKey, SealedValue, rewrap, unseal


@dataclass(frozen=True, slots=True)
class Requester:
    """Who asked for it, with which request."""

    actor_type: str
    actor_id: str
    request_id: str
    source_ip: str = ""
    user_agent: str = ""


@dataclass(frozen=True, slots=True)
class DeepRotation:
    """One deep rotation of an org. ``data_keys`` is how many were under ``old_keys`` when it began; ``damaged`` how
    many values were found not to open; ``destroyed_keys`` those of the old keys that nothing depended on any more."""

    id: str
    org: str
    new_key: str
    old_keys: tuple[str, ...]
    transport_key: str
    data_keys: int
    requester: Requester
    started_at: datetime
    rewrapped: int = 0
    damaged: int = 0
    destroyed_keys: tuple[str, ...] = ()
    completed_at: datetime | None = None

    @classmethod
    def wanted(cls, rotation_id: str, org: str, requester: Requester, now: datetime) -> Self:
        """One that has no keys yet."""
        return cls(rotation_id, org, "", (), "", 0, requester, now)

    def stages(self, recorded: int) -> list[Self]:
        """What there is to put on record when that many of its stages are: as it began, and as it is completed."""
        done = [self] if self.completed_at is not None else []
        return [replace(self, completed_at=None), *done][recorded:]

    def completed(self, destroyed: tuple[str, ...], damaged: int, now: datetime) -> Self:
        return replace(self, destroyed_keys=destroyed, damaged=damaged, completed_at=now)


def move(
    value: SealedValue, key: KeyEncryptionKey, to: KeyEncryptionKey, nonce: bytes
) -> tuple[SealedValue | None, str]:
    """The value with its data key wrapped under ``to``, and what is wrong with it, empty when nothing is.

    A value whose data key does not open can't be moved. One whose ciphertext does not open is moved all the same,
    since nothing that could repair it is in its wrapping.
    """
    try:
        moved = rewrap(value, key, to, nonce)
    except NotAuthentic as reason:
        return None, f"its data key does not open: {reason}"
    try:
        unseal(value, key)
    except NotAuthentic as reason:
        return moved, f"its ciphertext does not open: {reason}"
    return moved, ""


def unused(keys: Iterable[str], values_under: Mapping[str, int]) -> tuple[str, ...]:
    """Those of ``keys`` that no value depends on."""
    return tuple(key for key in keys if not values_under.get(key))

"""What happens to the keys that protect the values."""

from __future__ import annotations

from dataclasses import dataclass

from libs.common.events.registry import REGISTRY


@REGISTRY.event("kt.encryption_key.rotated.v1", action="rotate")
@dataclass(frozen=True, slots=True)
class EncryptionKeyRotated:
    """The keyring was wrapped anew. Fingerprints name master keys and reveal nothing of them."""

    from_fingerprint: str
    to_fingerprint: str
    rewrapped: int


@REGISTRY.event("kt.encryption_key.deep_rotation_started.v1", action="start_deep_rotation")
@dataclass(frozen=True, slots=True)
class DeepRotationStarted:
    """The org has a new key-encryption key, and ``data_keys`` data keys are to be wrapped under it anew.

    Keys are named by id. ``transport_key`` is the new one of the whole system.
    """

    rotation_id: str
    old_keys: tuple[str, ...]
    new_key: str
    transport_key: str
    data_keys: int


@REGISTRY.event("kt.encryption_key.deep_rotation_completed.v1", action="complete_deep_rotation")
@dataclass(frozen=True, slots=True)
class DeepRotationCompleted:
    """No value that opens depends on the old keys any more. ``destroyed_keys`` are gone; an old key that is not among
    them is kept for values that are damaged. ``damaged`` counts those and others that do not open."""

    rotation_id: str
    new_key: str
    rewrapped: int
    damaged: int
    destroyed_keys: tuple[str, ...]

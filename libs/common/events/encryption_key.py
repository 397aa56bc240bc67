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

"""The master key as the log knows it: which one wraps the keyring, and which one did before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from libs.common.decider import Decider
from libs.common.events.encryption_key import EncryptionKeyRotated


@dataclass(frozen=True, slots=True)
class RecordRotation:
    from_fingerprint: str
    to_fingerprint: str
    rewrapped: int


@dataclass(frozen=True, slots=True)
class EncryptionKey:
    """``fingerprint`` is empty before the first rotation."""

    fingerprint: str = ""


def decide(command: RecordRotation, _: EncryptionKey) -> Sequence[EncryptionKeyRotated]:
    """The keyring is the authority: what it did is recorded as it is told."""
    return [EncryptionKeyRotated(command.from_fingerprint, command.to_fingerprint, command.rewrapped)]


def evolve(_: EncryptionKey, event: EncryptionKeyRotated) -> EncryptionKey:
    return EncryptionKey(event.to_fingerprint)


ENCRYPTION_KEY: Decider[RecordRotation, EncryptionKey, EncryptionKeyRotated] = Decider(
    EncryptionKey(), decide, evolve
)

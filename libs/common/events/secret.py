"""What happens to a secret of any kind. Each kind writes these under wire names of its own.

``version`` counts the values a name ever had and only grows.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SealedRef:
    """Where the sealed value lies and what it must hash to; never the value.

    ``digest`` is hex SHA-256 over ciphertext and associated data (docs/reference/sealed-format.md).
    """

    id: str
    digest: str


@dataclass(frozen=True, slots=True)
class SecretCreated:
    """``sensitive``: the API never shows the value."""

    version: int
    description: str
    sensitive: bool
    sealed: SealedRef


@dataclass(frozen=True, slots=True)
class SecretUpdated:
    description: str
    sensitive: bool


@dataclass(frozen=True, slots=True)
class SecretRotated:
    version: int
    sealed: SealedRef


@dataclass(frozen=True, slots=True)
class SecretRolledBack:
    """A new version that holds the value of ``from_version`` again, sealed anew."""

    version: int
    from_version: int
    sealed: SealedRef


@dataclass(frozen=True, slots=True)
class SecretDeleted:
    version: int


@dataclass(frozen=True, slots=True)
class SecretVersionDestroyed:
    """The value of an older version is gone for good: ``sealed`` names what was deleted from the sealed store."""

    version: int
    sealed: SealedRef


SecretEvent = (
    SecretCreated | SecretUpdated | SecretRotated | SecretRolledBack | SecretDeleted | SecretVersionDestroyed
)


@dataclass(frozen=True, slots=True)
class SecretResolved:
    """The value of ``version`` was handed out. ``purpose``: startup, reload, rotation, reconnect or request."""

    version: int
    purpose: str


@dataclass(frozen=True, slots=True)
class SecretResolveFailed:
    """``reason``: not_found, deleted, not_permitted, undecryptable or invalid_reference."""

    reason: str
    purpose: str

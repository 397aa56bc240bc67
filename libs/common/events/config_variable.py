"""What happens to a config variable. ``version`` counts the values a name ever had and only grows."""

from __future__ import annotations

from dataclasses import dataclass

from libs.common.events.registry import REGISTRY


@dataclass(frozen=True, slots=True)
class SealedRef:
    """Where the sealed value lies and what it must hash to; never the value.

    ``digest`` is hex SHA-256 over ciphertext and associated data (docs/reference/sealed-format.md).
    """

    id: str
    digest: str


@REGISTRY.event("kt.config_variable.created.v1", action="create")
@dataclass(frozen=True, slots=True)
class ConfigVariableCreated:
    version: int
    description: str
    sensitive: bool
    sealed: SealedRef


@REGISTRY.event("kt.config_variable.updated.v1", action="update")
@dataclass(frozen=True, slots=True)
class ConfigVariableUpdated:
    description: str
    sensitive: bool


@REGISTRY.event("kt.config_variable.rotated.v1", action="rotate")
@dataclass(frozen=True, slots=True)
class ConfigVariableRotated:
    version: int
    sealed: SealedRef


@REGISTRY.event("kt.config_variable.rolled_back.v1", action="roll_back")
@dataclass(frozen=True, slots=True)
class ConfigVariableRolledBack:
    """A new version that holds the value of ``from_version`` again, sealed anew."""

    version: int
    from_version: int
    sealed: SealedRef


@REGISTRY.event("kt.config_variable.deleted.v1", action="delete")
@dataclass(frozen=True, slots=True)
class ConfigVariableDeleted:
    version: int


@REGISTRY.event("kt.config_variable.version_destroyed.v1", action="destroy_version")
@dataclass(frozen=True, slots=True)
class ConfigVariableVersionDestroyed:
    """The value of an older version is gone for good: ``sealed`` names what was deleted from the sealed store."""

    version: int
    sealed: SealedRef


ConfigVariableEvent = (
    ConfigVariableCreated
    | ConfigVariableUpdated
    | ConfigVariableRotated
    | ConfigVariableRolledBack
    | ConfigVariableDeleted
    | ConfigVariableVersionDestroyed
)


@REGISTRY.event("kt.config_variable.resolved.v1", action="resolve")
@dataclass(frozen=True, slots=True)
class ConfigVariableResolved:
    """The value of ``version`` was handed out. ``purpose``: startup, reload, rotation, reconnect or request."""

    version: int
    purpose: str


@REGISTRY.event("kt.config_variable.resolve_failed.v1", action="resolve", failure=True)
@dataclass(frozen=True, slots=True)
class ConfigVariableResolveFailed:
    """``reason``: not_found, deleted, not_permitted, undecryptable or invalid_reference."""

    reason: str
    purpose: str


@REGISTRY.event("kt.config_variable.revealed.v1", action="reveal")
@dataclass(frozen=True, slots=True)
class ConfigVariableRevealed:
    """The API showed the value of a variable that is not sensitive."""

    version: int

"""What happens to a config variable."""

from __future__ import annotations

from dataclasses import dataclass

from libs.common.events.registry import REGISTRY
from libs.common.events.secret import (
    SecretCreated,
    SecretDeleted,
    SecretResolved,
    SecretResolveFailed,
    SecretRolledBack,
    SecretRotated,
    SecretUpdated,
    SecretVersionDestroyed,
)


@REGISTRY.event("kt.config_variable.created.v1", action="create")
@dataclass(frozen=True, slots=True)
class ConfigVariableCreated(SecretCreated):
    pass


@REGISTRY.event("kt.config_variable.taken_over.v1", action="take_over")
@dataclass(frozen=True, slots=True)
class ConfigVariableTakenOver(SecretCreated):
    """The value of an older plaintext row was sealed. The row is deleted behind this event."""


@REGISTRY.event("kt.config_variable.updated.v1", action="update")
@dataclass(frozen=True, slots=True)
class ConfigVariableUpdated(SecretUpdated):
    pass


@REGISTRY.event("kt.config_variable.rotated.v1", action="rotate")
@dataclass(frozen=True, slots=True)
class ConfigVariableRotated(SecretRotated):
    pass


@REGISTRY.event("kt.config_variable.rolled_back.v1", action="roll_back")
@dataclass(frozen=True, slots=True)
class ConfigVariableRolledBack(SecretRolledBack):
    """A new version that holds the value of ``from_version`` again, sealed anew."""


@REGISTRY.event("kt.config_variable.deleted.v1", action="delete")
@dataclass(frozen=True, slots=True)
class ConfigVariableDeleted(SecretDeleted):
    pass


@REGISTRY.event("kt.config_variable.version_destroyed.v1", action="destroy_version")
@dataclass(frozen=True, slots=True)
class ConfigVariableVersionDestroyed(SecretVersionDestroyed):
    """The value of an older version is gone for good: ``sealed`` names what was deleted from the sealed store."""


@REGISTRY.event("kt.config_variable.resolved.v1", action="resolve", access=True)
@dataclass(frozen=True, slots=True)
class ConfigVariableResolved(SecretResolved):
    """The value of ``version`` was handed out. ``purpose``: startup, reload, rotation, reconnect or request."""


@REGISTRY.event("kt.config_variable.resolve_failed.v1", action="resolve", failure=True, access=True)
@dataclass(frozen=True, slots=True)
class ConfigVariableResolveFailed(SecretResolveFailed):
    """``reason``: not_found, deleted, not_permitted, undecryptable, invalid_reference or unavailable."""


@REGISTRY.event("kt.config_variable.revealed.v1", action="reveal", access=True)
@dataclass(frozen=True, slots=True)
class ConfigVariableRevealed:
    """The API showed the value of a variable that is not sensitive."""

    version: int


@REGISTRY.event("kt.config_variable.legacy_resolved.v1", action="resolve", access=True)
@dataclass(frozen=True, slots=True)
class LegacyRowResolved:
    """The value of an older plaintext row was handed out; it has no version. ``purpose`` as for other values."""

    purpose: str


@REGISTRY.event("kt.config_variable.legacy_revealed.v1", action="reveal", access=True)
@dataclass(frozen=True, slots=True)
class LegacyRowRevealed:
    """The API showed the value of an older plaintext row that is not sensitive."""

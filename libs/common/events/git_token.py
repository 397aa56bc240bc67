"""What happens to a Git access token. It is always sensitive: no event tells of its value being shown."""

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


@REGISTRY.event("kt.git_token.created.v1", action="create")
@dataclass(frozen=True, slots=True)
class GitTokenCreated(SecretCreated):
    """A Git access token was stored under a new name. ``sensitive`` is always true."""


@REGISTRY.event("kt.git_token.updated.v1", action="update")
@dataclass(frozen=True, slots=True)
class GitTokenUpdated(SecretUpdated):
    """Its description was changed. ``sensitive`` is always true."""


@REGISTRY.event("kt.git_token.rotated.v1", action="rotate")
@dataclass(frozen=True, slots=True)
class GitTokenRotated(SecretRotated):
    """It got a new value, as a new version."""


@REGISTRY.event("kt.git_token.rolled_back.v1", action="roll_back")
@dataclass(frozen=True, slots=True)
class GitTokenRolledBack(SecretRolledBack):
    """A new version that holds the value of ``from_version`` again, sealed anew."""


@REGISTRY.event("kt.git_token.deleted.v1", action="delete")
@dataclass(frozen=True, slots=True)
class GitTokenDeleted(SecretDeleted):
    """It was deleted, and the values of all its versions destroyed."""


@REGISTRY.event("kt.git_token.version_destroyed.v1", action="destroy_version")
@dataclass(frozen=True, slots=True)
class GitTokenVersionDestroyed(SecretVersionDestroyed):
    """The value of an older version is gone for good: ``sealed`` names what was deleted from the sealed store."""


@REGISTRY.event("kt.git_token.resolved.v1", action="resolve", access=True)
@dataclass(frozen=True, slots=True)
class GitTokenResolved(SecretResolved):
    """The value of ``version`` was handed to a gateway. ``purpose``: startup, reload, rotation or reconnect."""


@REGISTRY.event("kt.git_token.resolve_failed.v1", action="resolve", failure=True, access=True)
@dataclass(frozen=True, slots=True)
class GitTokenResolveFailed(SecretResolveFailed):
    """``reason``: not_found, deleted, not_permitted, undecryptable or invalid_reference."""

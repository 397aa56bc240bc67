"""The kinds of secret. They share one store, one decider and one set of rules; what differs stands here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from libs.common import references
from libs.common.events.config_variable import (
    ConfigVariableCreated,
    ConfigVariableDeleted,
    ConfigVariableResolved,
    ConfigVariableResolveFailed,
    ConfigVariableRolledBack,
    ConfigVariableRotated,
    ConfigVariableTakenOver,
    ConfigVariableUpdated,
    ConfigVariableVersionDestroyed,
)
from libs.common.events.git_token import (
    GitTokenCreated,
    GitTokenDeleted,
    GitTokenResolved,
    GitTokenResolveFailed,
    GitTokenRolledBack,
    GitTokenRotated,
    GitTokenUpdated,
    GitTokenVersionDestroyed,
)
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


@dataclass(frozen=True, slots=True)
class SecretKind:
    """``name`` is the aggregate on the stream, the resource type in events, and what a sealed value is bound to.

    ``noun`` and ``command`` are for sentences. A kind that is ``always_sensitive`` is never shown by the API. A kind
    of which the earlier system has plaintext rows knows the event by which one of them is ``taken_over``.
    """

    name: str
    noun: str
    command: str
    always_sensitive: bool
    created: type[SecretCreated]
    updated: type[SecretUpdated]
    rotated: type[SecretRotated]
    rolled_back: type[SecretRolledBack]
    deleted: type[SecretDeleted]
    version_destroyed: type[SecretVersionDestroyed]
    resolved: type[SecretResolved]
    resolve_failed: type[SecretResolveFailed]
    taken_over: type[SecretCreated] | None = None


CONFIG_VARIABLE: Final = SecretKind(
    name=references.CONFIG_VARIABLE,
    noun="config variable",
    command="kt vars",
    always_sensitive=False,
    created=ConfigVariableCreated,
    updated=ConfigVariableUpdated,
    rotated=ConfigVariableRotated,
    rolled_back=ConfigVariableRolledBack,
    deleted=ConfigVariableDeleted,
    version_destroyed=ConfigVariableVersionDestroyed,
    resolved=ConfigVariableResolved,
    resolve_failed=ConfigVariableResolveFailed,
    taken_over=ConfigVariableTakenOver,
)

GIT_TOKEN: Final = SecretKind(
    name=references.GIT_TOKEN,
    noun="Git access token",
    command="kt git-tokens",
    always_sensitive=True,
    created=GitTokenCreated,
    updated=GitTokenUpdated,
    rotated=GitTokenRotated,
    rolled_back=GitTokenRolledBack,
    deleted=GitTokenDeleted,
    version_destroyed=GitTokenVersionDestroyed,
    resolved=GitTokenResolved,
    resolve_failed=GitTokenResolveFailed,
)

KINDS: Final[Mapping[str, SecretKind]] = MappingProxyType({kind.name: kind for kind in (CONFIG_VARIABLE, GIT_TOKEN)})
"""By name."""

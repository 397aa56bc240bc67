"""References to keys: where a target's key comes from, and what became of resolving it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from libs.common.references import CONFIG_VARIABLE, GIT_TOKEN, reference_to
from libs.common.secret import Secret


class ReferenceKind(StrEnum):
    ENV = "env"
    STORE = "store"
    GIT_TOKEN = "git_token"  # noqa: S105 - the name of a kind


@dataclass(frozen=True, slots=True, order=True)
class Reference:
    """An environment variable of the gateway process, or a secret of the system: a config variable (``store``) or
    the Git access token that the configuration is read with."""

    kind: ReferenceKind
    name: str

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}"

    @property
    def secret_kind(self) -> str:
        """The kind of secret, as the system calls it; empty for environment variables."""
        return _SECRET_KINDS.get(self.kind, "")

    @property
    def in_system(self) -> str:
        """How the system is asked for it."""
        return reference_to(self.secret_kind, self.name)


_SECRET_KINDS: Final[Mapping[ReferenceKind, str]] = {
    ReferenceKind.STORE: CONFIG_VARIABLE,
    ReferenceKind.GIT_TOKEN: GIT_TOKEN,
}


class Reason(StrEnum):
    """Why a reference has no usable key."""

    NOT_FOUND = "not_found"
    DELETED = "deleted"
    NOT_PERMITTED = "not_permitted"
    INVALID_REFERENCE = "invalid_reference"
    UNDECRYPTABLE = "undecryptable"
    UNUSABLE_VALUE = "unusable_value"
    UNAVAILABLE = "unavailable"
    UNREACHABLE = "unreachable"


DEFINITE: Final = frozenset({Reason.NOT_FOUND, Reason.DELETED, Reason.NOT_PERMITTED, Reason.INVALID_REFERENCE})
"""Reasons that say the key is gone. The others are faults on the way to it: a key held already stays in use."""

EXPLANATION: Final[Mapping[Reason, str]] = {
    Reason.NOT_FOUND: "nothing is stored under this name",
    Reason.DELETED: "it was deleted",
    Reason.NOT_PERMITTED: "this gateway is not allowed to use it",
    Reason.INVALID_REFERENCE: "it is not a valid name",
    Reason.UNDECRYPTABLE: "its sealed value can't be opened",
    Reason.UNUSABLE_VALUE: "its value can't be sent as an HTTP header",
    Reason.UNAVAILABLE: "the database that may hold it as an older plaintext row does not answer",
    Reason.UNREACHABLE: "the system can't be reached",
}


class Purpose(StrEnum):
    """Why a reference is resolved; it is written into the access log."""

    STARTUP = "startup"
    RELOAD = "reload"
    ROTATION = "rotation"
    RECONNECT = "reconnect"


@dataclass(frozen=True, slots=True)
class Resolved:
    """A key as its source gave it. ``sequence`` orders answers for one reference; it only grows.

    ``version`` is 0 for a source without versions (the environment).
    """

    reference: Reference
    value: Secret
    version: int = 0
    sequence: int = 0


@dataclass(frozen=True, slots=True)
class Unresolved:
    reference: Reference
    reason: Reason
    sequence: int = 0


Resolution = Resolved | Unresolved

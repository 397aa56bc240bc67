"""Who may resolve what: every reference has to match one of the requester's globs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase

from libs.common.events.config_variable import SealedRef
from services.resolver.domain.variable import Known, Unreadable


@dataclass(frozen=True, slots=True)
class Entitled:
    reference: str
    version: int
    sequence: int
    sealed: SealedRef


@dataclass(frozen=True, slots=True)
class Refused:
    """``reason``: not_permitted, not_found, deleted, undecryptable or invalid_reference.

    ``sequence`` is that of the deletion, so that a value resolved before it can be told from one resolved after.
    """

    reference: str
    reason: str
    sequence: int = 0


def entitlement(reference: str, allowed: Iterable[str], variable: Known) -> Entitled | Refused:
    """Permission is checked before existence: who may not resolve a name does not learn whether it exists."""
    if not any(fnmatchcase(reference, pattern) for pattern in allowed):
        return Refused(reference, "not_permitted")
    if variable is None:
        return Refused(reference, "not_found")
    if isinstance(variable, Unreadable):
        return Refused(reference, "undecryptable")
    if variable.sealed is None:
        return Refused(reference, "deleted", variable.sequence)
    return Entitled(reference, variable.version, variable.sequence, variable.sealed)

"""Who may resolve what: every reference has to match one of the requester's globs, which speak of one kind each."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from libs.common.events.secret import SealedRef
from libs.common.references import permitted, split_reference
from libs.common.secret_kinds import CONFIG_VARIABLE
from services.resolver.domain.secret import Known, Unreadable


@dataclass(frozen=True, slots=True)
class Entitled:
    reference: str
    version: int
    sequence: int
    sealed: SealedRef


@dataclass(frozen=True, slots=True)
class FromRow:
    """The value is that of an older plaintext row, which has neither version nor history."""

    reference: str


@dataclass(frozen=True, slots=True)
class Refused:
    """``reason``: not_permitted, not_found, deleted, undecryptable, invalid_reference or unavailable.

    ``sequence`` is that of the deletion, so that a value resolved before it can be told from one resolved after.
    """

    reference: str
    reason: str
    sequence: int = 0


Fate = Entitled | FromRow | Refused


def may_have_row(fate: Fate) -> bool:
    """Whether an older plaintext row may have the name: only one that never was a config variable can."""
    of_variable = split_reference(fate.reference)[0] == CONFIG_VARIABLE.name
    return isinstance(fate, Refused) and fate.reason == "not_found" and of_variable


def entitlement(reference: str, allowed: Iterable[str], secret: Known) -> Entitled | Refused:
    """Permission is checked before existence: who may not resolve a name does not learn whether it exists."""
    if not permitted(reference, allowed):
        return Refused(reference, "not_permitted")
    if secret is None:
        return Refused(reference, "not_found")
    if isinstance(secret, Unreadable):
        return Refused(reference, "undecryptable")
    if secret.sealed is None:
        return Refused(reference, "deleted", secret.sequence)
    return Entitled(reference, secret.version, secret.sequence, secret.sealed)

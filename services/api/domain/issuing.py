"""What a token may grant: never more than the token that asks for it."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase

from libs.common.auth.scopes import CLIENT_ROLE, ROLES
from libs.common.auth.tokens import Principal
from libs.common.errors import KtError
from libs.common.references import EVERY_CONFIG_VARIABLE, split_reference


def check_grant(issuer: Principal, role: str, references: Iterable[str]) -> None:
    """Raises: KtError ``forbidden`` when the role or the references reach further than the issuer's own."""
    granted = frozenset() if role == CLIENT_ROLE else ROLES[role]
    if not granted <= issuer.scopes:
        raise KtError(
            "forbidden",
            "The role would allow more than the token that asks for it.",
            "Ask somebody with a role that has these scopes, such as an admin.",
        )
    if not all(covers(issuer.references, reference) for reference in references):
        raise KtError(
            "forbidden",
            "The references reach further than those of the token that asks for it.",
            "Name references within those of your own token.",
        )


def covers(allowed: Iterable[str], reference: str) -> bool:
    """Whether everything that the glob ``reference`` matches is within ``allowed``. Never wrongly true.

    A ``*`` swallows the wildcards of the narrower glob as it swallows letters; a ``?`` or ``[`` would not, so globs
    with those cover only themselves and plain names. A ``*`` alone is a token without limits: it may pass on
    references of every kind, although it resolves config variables alone itself.
    """
    kind, name = split_reference(reference)
    plain = not set(name) & set("*?[")
    return any(
        glob in (reference, EVERY_CONFIG_VARIABLE)
        or (of == kind and (plain or not set(pattern) & set("?[")) and fnmatchcase(name, pattern))
        for glob, (of, pattern) in ((glob, split_reference(glob)) for glob in allowed)
    )

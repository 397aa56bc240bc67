"""Access tokens of people and machines: JWT (RFC 7519), HS256, the signing key named by ``kid``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from libs.common.auth.refusal import Reason, RefusedToken, refused
from libs.common.auth.scopes import ROLES
from libs.common.auth.token_keys import ISSUER, TokenKeys
from libs.common.clock import Clock
from libs.common.errors import KtError
from libs.common.names import checked_identity, checked_org, plain_token_id

_END_OF_TIME: Final = 253_402_300_799
"""The last second that a calendar of four-digit years has: what ends later never ends."""


@dataclass(frozen=True, slots=True)
class Principal:
    """Who a verified token speaks for, until ``expires_at`` (Unix seconds). ``references`` limits which names it may
    resolve (globs)."""

    subject: str
    org: str
    role: str
    scopes: frozenset[str]
    token_id: str
    references: tuple[str, ...] = ("*",)
    expires_at: int = 0


class TokenVerifier:
    """From a bearer token to a :class:`Principal`."""

    def __init__(self, keys: Callable[[], TokenKeys], clock: Clock) -> None:
        self._keys = keys
        self._clock = clock

    def verify(self, token: str) -> Principal:
        """Raises: RefusedToken ``unauthenticated``."""
        principal = _principal(self._keys().verify(token))
        self.check_expiry(principal)
        return principal

    def check_expiry(self, principal: Principal) -> None:
        """Raises: RefusedToken ``unauthenticated``."""
        if principal.expires_at <= self._clock.now().timestamp():
            raise refused(Reason.EXPIRED, "The token has expired.", principal)


def _principal(claims: Mapping[str, Any]) -> Principal:
    expires, role, references = claims["exp"], claims.get("role"), claims.get("refs", ["*"])
    if not isinstance(expires, int):
        raise _unclear("The token's expiry is not a whole number of seconds.")
    if not isinstance(role, str) or role not in ROLES:
        raise _unclear("The token names no role that exists.")
    if not isinstance(references, list) or not all(isinstance(r, str) for r in references):
        raise _unclear("The token's list of references is not a list of text.")
    try:
        subject, org = checked_identity(str(claims["sub"])), checked_org(str(claims.get("org", "")))
    except KtError:
        raise _unclear("The token names no subject or org.") from None
    if not claims["jti"]:
        raise _unclear("The token's id (jti) is empty.")
    token_id, ends = plain_token_id(str(claims["jti"])), min(expires, _END_OF_TIME)
    return Principal(subject, org, role, ROLES[role], token_id, tuple(references), ends)


def token_claims(
    *, token_id: str, subject: str, org: str, role: str, issued: datetime, ttl_s: int, references: tuple[str, ...]
) -> dict[str, Any]:
    """The claims of an access token; times in whole Unix seconds (RFC 7519 section 2, NumericDate)."""
    issued_at = int(issued.timestamp())
    claims: dict[str, Any] = {
        "iss": ISSUER,
        "sub": subject,
        "org": org,
        "role": role,
        "jti": token_id,
        "iat": issued_at,
        "exp": issued_at + ttl_s,
    }
    if references != ("*",):
        claims["refs"] = list(references)
    return claims


def _unclear(detail: str) -> RefusedToken:
    return refused(Reason.INVALID_CLAIMS, detail)

"""Access tokens of people and machines: JWT (RFC 7519), HS256, the signing key named by ``kid``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import jwt

from libs.common.auth.scopes import ROLES
from libs.common.clock import Clock
from libs.common.errors import KtError
from libs.common.names import checked_identity, checked_org
from libs.common.secret import Secret

ISSUER: Final = "keeptrusts"
MIN_SECRET_BYTES: Final = 32
_REQUIRED: Final = ["exp", "iat", "iss", "jti", "sub"]
_LOGIN_HINT: Final = "Get a token with `kt token issue`, and send it as `Authorization: Bearer …`."


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


class TokenKeys:
    """The verification keys; the last one signs.

    ``parse`` takes the form of ``KEEPTRUSTS_JWT_VERIFICATION_KEYS``: ``kid1:secret1,kid2:secret2``.
    """

    def __init__(self, keys: dict[str, Secret]) -> None:
        self._keys = keys
        self.current = list(keys)[-1]

    @classmethod
    def parse(cls, text: Secret) -> TokenKeys:
        """Raises: KtError ``misconfigured``, naming the place and what was expected, never a secret."""
        keys: dict[str, Secret] = {}
        form = "expected kid1:secret1,kid2:secret2"
        try:
            entries = text.reveal().decode().strip().split(",")
        except UnicodeDecodeError:
            raise _bad_keys(f"they are not text; {form}") from None
        for number, entry in enumerate(entries, 1):
            kid, colon, secret = entry.strip().partition(":")
            if not colon or not kid:
                raise _bad_keys(f"entry {number} has no key id; {form}")
            if kid in keys:
                raise _bad_keys(f"entry {number} repeats a key id; each may stand once")
            if len(secret.encode()) < MIN_SECRET_BYTES:
                raise _bad_keys(f"the secret of entry {number} is shorter than {MIN_SECRET_BYTES} bytes (256 bits)")
            keys[kid] = Secret.from_text(secret)
        return cls(keys)

    def sign(self, claims: dict[str, Any]) -> str:
        return jwt.encode(claims, self._keys[self.current].reveal(), algorithm="HS256", headers={"kid": self.current})

    def verify(self, token: str) -> dict[str, Any]:
        """The claims of a valid token.

        Raises:
            KtError: ``unauthenticated``, saying why: expired, unknown kid, wrong algorithm, malformed.
        """
        try:
            header = jwt.get_unverified_header(token)
        except jwt.InvalidTokenError:
            raise unauthenticated("The token is not a JWT.") from None
        if header.get("alg") != "HS256":
            raise unauthenticated("The token is not signed with HS256.")
        kid = header.get("kid")
        key = self._keys.get(kid) if isinstance(kid, str) else None
        if key is None:
            raise unauthenticated("The token was signed with a key that is not in the verification set.")
        try:
            claims: dict[str, Any] = jwt.decode(
                token,
                key.reveal(),
                algorithms=["HS256"],
                issuer=ISSUER,
                options={"require": _REQUIRED, "verify_aud": False, "verify_exp": False, "verify_iat": False},
            )
        except jwt.InvalidTokenError as error:
            raise unauthenticated(f"The token is not valid ({type(error).__name__}).") from None
        return claims


class TokenVerifier:
    """From a bearer token to a :class:`Principal`."""

    def __init__(self, keys: Callable[[], TokenKeys], clock: Clock) -> None:
        self._keys = keys
        self._clock = clock

    def verify(self, token: str) -> Principal:
        """Raises: KtError ``unauthenticated``."""
        claims = self._keys().verify(token)
        expires, role, references = claims["exp"], claims.get("role"), claims.get("refs", ["*"])
        if not isinstance(expires, int) or expires <= self._clock.now().timestamp():
            raise unauthenticated("The token has expired.")
        if not isinstance(role, str) or role not in ROLES:
            raise unauthenticated("The token names no role that exists.")
        if not isinstance(references, list) or not all(isinstance(r, str) for r in references):
            raise unauthenticated("The token's list of references is not a list of text.")
        try:
            subject, org = checked_identity(str(claims["sub"])), checked_org(str(claims.get("org", "")))
        except KtError:
            raise unauthenticated("The token names no subject or org.") from None
        return Principal(subject, org, role, ROLES[role], str(claims["jti"]), tuple(references), expires)


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


def unauthenticated(detail: str) -> KtError:
    return KtError("unauthenticated", detail, _LOGIN_HINT)


def _bad_keys(problem: str) -> KtError:
    return KtError(
        "misconfigured",
        f"KEEPTRUSTS_JWT_VERIFICATION_KEYS can't be used: {problem}.",
        "Make a secret with `openssl rand -base64 32`.",
    )

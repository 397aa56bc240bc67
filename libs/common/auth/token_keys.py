"""The keys of access tokens, as ``KEEPTRUSTS_JWT_VERIFICATION_KEYS`` gives them: all verify, the last one signs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, NoReturn

import jwt

from libs.common.auth.refusal import Reason, refused
from libs.common.errors import KtError
from libs.common.names import looks_like_secret
from libs.common.secret import Secret

ISSUER: Final = "keeptrusts"
VARIABLE: Final = "KEEPTRUSTS_JWT_VERIFICATION_KEYS"
MIN_BITS: Final = 256
"""RFC 7518 section 3.2: a key of at least the size of the hash."""

MAX_KEYS: Final = 32
MIN_DISTINCT_CHARACTERS: Final = 8

_FORM: Final = "expected kid1:secret1,kid2:secret2"
_HINT: Final = "Make a secret with `openssl rand -base64 32`, and write it exactly as printed."
_KID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_QUOTES: Final = "\"'`"
_BITS: Final = ((re.compile(r"[0-9a-fA-F]+"), 4.0, "hex"), (re.compile(r"[A-Za-z0-9+/_=-]+"), 6.0, "base64"))
_BITS_OF_TEXT: Final = 6.5
_REQUIRED: Final = ["exp", "iat", "iss", "jti", "sub"]
_REASONS: Final[tuple[tuple[type[jwt.InvalidTokenError], Reason], ...]] = (
    (jwt.InvalidSignatureError, Reason.INVALID_SIGNATURE),
    (jwt.DecodeError, Reason.MALFORMED),
)


class TokenKeys:
    """The verification keys by key id; ``current`` is the one that signs."""

    def __init__(self, keys: Mapping[str, Secret]) -> None:
        self._keys = dict(keys)
        self.kids = tuple(self._keys)
        self.current = self.kids[-1]

    @classmethod
    def parse(cls, text: Secret, place: str = VARIABLE) -> TokenKeys:
        """Read ``kid1:secret1,kid2:secret2``. A secret may hold ``:``; it is the text itself, not decoded.

        What a secret would lose by being trimmed or unquoted is refused, because whoever else verifies with it would
        have another key. ``place`` is how errors call where the text comes from.

        Raises:
            KtError: ``misconfigured``, naming the entry by its number and what was expected, never what it holds.
        """
        keys: dict[str, Secret] = {}
        try:
            for number, entry in enumerate(_entries(text), 1):
                kid, secret = _checked(entry, number)
                if kid in keys:
                    _wrong(f"entry {number} repeats a key id; each may stand once")
                if secret in keys.values():
                    _wrong(f"entry {number} repeats the secret of another entry; a new key id needs a new secret")
                keys[kid] = secret
        except _Unusable as error:
            raise KtError("misconfigured", f"{place} can't be used: {error}.", _HINT) from None
        return cls(keys)

    def redefined(self, before: TokenKeys) -> bool:
        """Whether a key id stands for another secret than before."""
        return any(kid in before._keys and before._keys[kid] != secret for kid, secret in self._keys.items())

    def sign(self, claims: dict[str, Any]) -> str:
        return jwt.encode(claims, self._keys[self.current].reveal(), algorithm="HS256", headers={"kid": self.current})

    def verify(self, token: str) -> dict[str, Any]:
        """The claims of a token that one of the keys signed. Its expiry is the caller's to check.

        Raises:
            RefusedToken: ``unauthenticated``, saying why: unknown kid, wrong algorithm, malformed.
        """
        key = self._key_of(token)
        try:
            claims: dict[str, Any] = jwt.decode(
                token,
                key.reveal(),
                algorithms=["HS256"],
                issuer=ISSUER,
                options={"require": _REQUIRED, "verify_aud": False, "verify_exp": False, "verify_iat": False},
            )
        except jwt.InvalidTokenError as error:
            reason = next((reason for kind, reason in _REASONS if isinstance(error, kind)), Reason.INVALID_CLAIMS)
            raise refused(reason, f"The token is not valid ({type(error).__name__}).") from None
        return claims

    def _key_of(self, token: str) -> Secret:
        try:
            header = jwt.get_unverified_header(token)
        except jwt.InvalidTokenError:
            raise refused(Reason.MALFORMED, "The token is not a JWT.") from None
        if header.get("alg") != "HS256":
            raise refused(Reason.UNSUPPORTED_ALGORITHM, "The token is not signed with HS256.")
        kid = header.get("kid")
        key = self._keys.get(kid) if isinstance(kid, str) else None
        if key is None:
            raise refused(Reason.UNKNOWN_KEY, "The token was signed with a key that is not in the verification set.")
        return key


class _Unusable(Exception):
    """Why the keys can't be used, as the rest of a sentence."""


def _wrong(problem: str) -> NoReturn:
    raise _Unusable(problem)


def _entries(text: Secret) -> list[str]:
    try:
        written = text.reveal().decode("ascii")
    except UnicodeDecodeError:
        _wrong(f"the text is wrongly encoded: it holds characters that are not ASCII; {_FORM} in plain ASCII")
    if not written.strip():
        _wrong(f"it is empty; {_FORM}")
    if written != written.strip():
        _wrong("white space stands around the text; expected none, one line break at the end of a file apart")
    entries = written.split(",")
    if len(entries) > MAX_KEYS:
        _wrong(f"it holds {len(entries)} entries; expected at most {MAX_KEYS}")
    return entries


def _checked(entry: str, number: int) -> tuple[str, Secret]:
    kid, colon, secret = entry.partition(":")
    if entry != entry.strip() or kid != kid.strip() or secret != secret.strip():
        _wrong(f"entry {number} has white space around its key id or its secret; expected none")
    if not entry.isprintable() or " " in entry:
        _wrong(f"entry {number} holds white space or a control character; expected visible characters alone")
    for part in (kid, secret):
        if part and (part[0] in _QUOTES or part[-1] in _QUOTES):
            _wrong(f"entry {number} has quotes, which would be part of the key; expected none")
    if not colon:
        _wrong(f"entry {number} has no key id and colon before its secret; {_FORM}; a secret can't hold a comma")
    if not kid:
        _wrong(f"entry {number} has an empty key id; {_FORM}")
    if not _KID.fullmatch(kid) or looks_like_secret(kid):
        _wrong(
            f"the key id of entry {number} is not valid; expected 1 to 64 letters, digits, dots, underscores and "
            "hyphens, a letter or digit first, and nothing like a secret"
        )
    _check_strength(secret, number)
    return kid, Secret.from_text(secret)


def _check_strength(secret: str, number: int) -> None:
    bits, written = next(
        ((each, name) for pattern, each, name in _BITS if pattern.fullmatch(secret)), (_BITS_OF_TEXT, "text")
    )
    material = int(len(secret.rstrip("=")) * bits)
    if material < MIN_BITS:
        _wrong(
            f"the secret of entry {number} holds {material} bits of key material ({len(secret)} characters of "
            f"{written}); expected at least {MIN_BITS}"
        )
    periods = range(1, len(secret) // 2 + 1)
    if len(set(secret)) < MIN_DISTINCT_CHARACTERS or any(secret[p:] == secret[:-p] for p in periods):
        _wrong(f"the secret of entry {number} repeats a pattern instead of being random")

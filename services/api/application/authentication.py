"""From a bearer token to who it speaks for."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from typing import Final, Protocol

from libs.common.auth.tokens import Principal, TokenVerifier

MAX_REMEMBERED: Final = 1024


class RevokedTokens(Protocol):
    def check(self, principal: Principal) -> None:
        """Raises: KtError ``unauthenticated`` for a token that was revoked, ``unavailable`` when nobody knows."""


class Authentication:
    """Verifies a token once and remembers it by its SHA-256, because callers send the same one with each request and
    verifying costs as much as all else that is done for a read. Whether it has expired or was revoked is looked up
    every time."""

    def __init__(self, verifier: TokenVerifier, revoked: RevokedTokens) -> None:
        self._verifier = verifier
        self._revoked = revoked
        self._remembered: OrderedDict[bytes, Principal] = OrderedDict()

    def forget(self) -> None:
        """Verify every token anew: other keys are in force."""
        self._remembered.clear()

    def verify(self, token: str) -> Principal:
        """
        Raises:
            RefusedToken: ``unauthenticated``.
            KtError: ``unavailable`` while it is not known which tokens are revoked.
        """
        digest = hashlib.sha256(token.encode()).digest()
        known = self._remembered.get(digest)
        if known is None:
            known = self._remembered[digest] = self._verifier.verify(token)
            if len(self._remembered) > MAX_REMEMBERED:
                self._remembered.popitem(last=False)
        else:
            self._verifier.check_expiry(known)
        self._revoked.check(known)
        return known

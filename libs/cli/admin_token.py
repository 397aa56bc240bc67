"""The first admin token of a home: signed with the home's own key, kept while it is good."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from libs.common.auth.token_keys import TokenKeys
from libs.common.auth.tokens import TokenVerifier, token_claims
from libs.common.clock import Clock, SystemClock
from libs.common.errors import KtError
from libs.common.ids import Uuid7Factory
from libs.common.settings import secret_from_environment, secret_from_file
from libs.engines.home import JWT_KEYS, Home

VALID_DAYS: Final = 365
_RENEW_DAYS: Final = 30
_NAME: Final = "admin"
_ORG: Final = "default"


class _Later:
    """The clock as it will be in a while."""

    def __init__(self, clock: Clock, ahead: timedelta) -> None:
        self._clock = clock
        self._ahead = ahead

    def now(self) -> datetime:
        return self._clock.now() + self._ahead


def mint_admin_token(home: Home, clock: Clock | None = None) -> str:
    """The token that is there, if it stays valid for 30 days; else a new one for a year.

    Raises:
        KtError: ``misconfigured`` when the JWT keys can't be used.
    """
    clock = clock or SystemClock()
    keys = _keys(home)
    return _kept(home, keys, clock) or keys.sign(
        token_claims(
            token_id=Uuid7Factory(clock).new(),
            subject=_NAME,
            org=_ORG,
            role="admin",
            issued=clock.now(),
            ttl_s=VALID_DAYS * 86400,
            references=("*",),
        )
    )


def _keys(home: Home) -> TokenKeys:
    given = secret_from_environment(JWT_KEYS)
    if given is not None:
        return TokenKeys.parse(given)
    return TokenKeys.parse(secret_from_file(home.jwt_keys, str(home.jwt_keys)), str(home.jwt_keys))


def _kept(home: Home, keys: TokenKeys, clock: Clock) -> str | None:
    try:
        token = home.admin_token.read_text(encoding="ascii").strip()
        principal = TokenVerifier(lambda: keys, _Later(clock, timedelta(days=_RENEW_DAYS))).verify(token)
    except (OSError, UnicodeDecodeError, KtError):
        return None
    return token if (principal.role, principal.org) == ("admin", _ORG) else None

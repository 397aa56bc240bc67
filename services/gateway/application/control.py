"""Who may ask a gateway for its status and tell it to reload."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from libs.common.errors import KtError
from libs.common.secret import Secret
from services.gateway.application.ports import TokenVerifier

MAX_AT_ONCE: Final = 4
BURST: Final = 20
PER_SECOND: Final = 2.0
"""Questions to the API about tokens that were shown here. Whoever reaches the gateway may show some, and each costs
the API more than it costs them."""

MAX_TOKEN_CHARACTERS: Final = 8192
_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")


class ControlAccess:
    """The control token of this process, or a token of the system that may control gateways.

    ``elapsed`` is a monotonic clock in seconds.
    """

    def __init__(self, token: Secret, verifier: TokenVerifier | None, elapsed: Callable[[], float]) -> None:
        self._token = token
        self._verifier = verifier
        self._elapsed = elapsed
        self._asking = 0
        self._allowance = float(BURST)
        self._counted_at = elapsed()

    async def check(self, authorization: str) -> None:
        """``authorization`` is the header of that name, empty when absent.

        Raises:
            KtError: ``unauthenticated``, ``forbidden``, or ``overloaded`` when too many tokens are shown.
        """
        scheme, _, bearer = authorization.partition(" ")
        if scheme.lower() != "bearer" or not bearer:
            raise KtError(
                "unauthenticated",
                "The request carries no bearer token; expected the gateway's control token, or one of the system.",
                "The control token stands in gateways/<name>/control.token below KEEPTRUSTS_HOME.",
            )
        if Secret.from_text(bearer) == self._token:
            return
        if self._verifier is None or not await self._may_control(self._verifier, bearer):
            raise KtError(
                "forbidden",
                "The token may not control this gateway.",
                "Use its control token, or a token with the scope gateways:control.",
            )

    async def _may_control(self, verifier: TokenVerifier, bearer: str) -> bool:
        if len(bearer) > MAX_TOKEN_CHARACTERS or not _TOKEN.fullmatch(bearer):
            return False
        now = self._elapsed()
        self._allowance = min(BURST, self._allowance + (now - self._counted_at) * PER_SECOND)
        self._counted_at = now
        if self._allowance < 1 or self._asking >= MAX_AT_ONCE:
            raise KtError(
                "overloaded",
                "Too many tokens are shown to this gateway to ask the system about all of them.",
                "Try again in a second, or use the gateway's control token, which needs no question.",
            )
        self._allowance -= 1
        self._asking += 1
        try:
            return await verifier.may_control(bearer)
        finally:
            self._asking -= 1

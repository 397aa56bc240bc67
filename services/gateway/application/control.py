"""Who may ask a gateway for its status and tell it to reload."""

from __future__ import annotations

from libs.common.errors import KtError
from libs.common.secret import Secret
from services.gateway.application.ports import TokenVerifier


class ControlAccess:
    """The control token of this process, or a token of the system that may control gateways."""

    def __init__(self, token: Secret, verifier: TokenVerifier | None) -> None:
        self._token = token
        self._verifier = verifier

    async def check(self, authorization: str) -> None:
        """``authorization`` is the header of that name, empty when absent.

        Raises:
            KtError: ``unauthenticated`` or ``forbidden``.
        """
        scheme, _, bearer = authorization.partition(" ")
        if scheme.lower() != "bearer" or not bearer:
            raise KtError(
                "unauthenticated",
                "The request carries no bearer token; expected the gateway's control token.",
                "It stands in gateways/<name>/control.token below KEEPTRUSTS_HOME.",
            )
        if Secret.from_text(bearer) == self._token:
            return
        if self._verifier is None or not await self._verifier.may_control(bearer):
            raise KtError(
                "forbidden",
                "The token may not control this gateway.",
                "Use its control token, or a token with the scope gateways:control.",
            )

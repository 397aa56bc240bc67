"""Client tokens: signed here, verified by gateways that hold only the public key."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from libs.common.errors import KtError
from libs.common.names import checked_org
from services.keys.application.keyring import Keyring
from services.keys.domain import client_tokens
from services.keys.domain.keyring import Purpose


@dataclass(frozen=True, slots=True)
class SignedToken:
    """``token`` is a credential: for the one who asked, and for nobody else."""

    token: str
    key_id: str


class ClientTokens:
    def __init__(self, keyring: Keyring) -> None:
        self._keyring = keyring

    async def sign(self, org: str, claims: Mapping[str, Any]) -> SignedToken:
        """Sign the claims with the org's key, which is made on first use.

        Raises:
            KtError: ``invalid_request`` when the claims name another org or no time of expiry.
        """
        checked_org(org)
        if claims.get("org") != org:
            raise KtError("invalid_request", "The claim org is not the org whose key signs.")
        expires = claims.get("exp")
        if not isinstance(expires, int) or isinstance(expires, bool):
            raise KtError("invalid_request", "The claim exp is missing; expected Unix seconds (RFC 7519).")
        key = await self._keyring.current(org, Purpose.CLIENT_TOKEN)
        return SignedToken(client_tokens.sign(claims, key.material, key.entry.id), key.entry.id)

    async def json_web_keys(self, org: str) -> dict[str, Any]:
        """The JWK set (RFC 7517) that verifies the org's client tokens.

        The key is made if there is none yet, so that a gateway that asks once knows the key of tokens issued later.
        """
        key = await self._keyring.current(checked_org(org), Purpose.CLIENT_TOKEN)
        return {"keys": [client_tokens.json_web_key(key.entry.public, key.entry.id)]}

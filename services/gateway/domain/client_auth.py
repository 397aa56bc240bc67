"""How clients of the gateway prove who they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from libs.common.errors import KtError
from libs.common.secret import Secret
from services.gateway.domain.header_value import header_problem

ISSUER: Final = "keeptrusts"
AUDIENCE: Final = "keeptrusts-gateway"
MIN_CLIENT_KEY_BYTES: Final = 16


@dataclass(frozen=True, slots=True)
class ClientTokens:
    """EdDSA tokens (RFC 8037) of one org. ``jwks`` is the JSON text of the public keys (RFC 7517), ``revoked`` has
    the ids (``jti``) of tokens that are not accepted any more."""

    org: str
    jwks: str
    revoked: tuple[str, ...] = ()
    name = "client_token"


@dataclass(frozen=True, slots=True)
class ClientKey:
    """One key for all clients of a gateway that runs without a system."""

    key: Secret
    name = "client_key"


@dataclass(frozen=True, slots=True)
class Anonymous:
    """Anyone who reaches the port may spend the providers' money. Only by explicit wish."""

    name = "anonymous"


ClientAuth = ClientTokens | ClientKey | Anonymous


def checked_client_key(key: Secret) -> ClientKey:
    """Raises: KtError ``misconfigured`` for a key that is short or can't be sent as a header."""
    expected = f"expected at least {MIN_CLIENT_KEY_BYTES} printable ASCII characters"
    if problem := header_problem(key):
        raise KtError("misconfigured", f"KEEPTRUSTS_GATEWAY_CLIENT_KEY {problem}; {expected}.")
    if len(key) < MIN_CLIENT_KEY_BYTES:
        raise KtError(
            "misconfigured",
            f"KEEPTRUSTS_GATEWAY_CLIENT_KEY has {len(key)} characters; {expected}.",
            "Leave it out and the gateway makes one at start.",
        )
    return ClientKey(key)

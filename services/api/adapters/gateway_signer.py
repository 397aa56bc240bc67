"""Bus identities of gateways, signed with the account's scoped key."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from libs.common.errors import KtError
from libs.common.messaging.identities import gateway_jwt, public_key
from libs.common.secret import Secret
from libs.common.subjects import GatewayIdentity


class ScopedGatewaySigner:
    """``account`` is the public key of the NATS account that the signing key belongs to."""

    def __init__(self, signing_seed: Secret, account: str) -> None:
        """Raises: KtError ``misconfigured`` when the seed is not an nkey seed."""
        public_key(signing_seed)
        self._signing_seed = signing_seed
        self._account = account

    def sign(self, gateway: GatewayIdentity, user: str, now: datetime, expires: datetime) -> str:
        return gateway_jwt(self._signing_seed, self._account, gateway, user=user, now=now, expires=expires)


def read_seed(path: Path) -> Secret:
    """Raises: KtError ``misconfigured`` when the file can't be read."""
    try:
        return Secret(path.read_bytes().strip())
    except OSError as error:
        raise KtError(
            "misconfigured",
            f"The file named by KEEPTRUSTS_GATEWAY_SIGNING_SEED_FILE can't be read: {error.strerror}.",
            "Provisioning makes it; see docs/reference/settings.md.",
        ) from None

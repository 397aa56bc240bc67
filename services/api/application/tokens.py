"""Access tokens: put on record first, then handed out, and never granting more than their issuer has."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from libs.common.auth.refusal import RefusedToken
from libs.common.auth.scopes import CLIENT_ROLE
from libs.common.auth.token_keys import ISSUER, TokenKeys
from libs.common.auth.tokens import Principal, token_claims
from libs.common.clock import Clock
from libs.common.hpke import BoxPrivateKey
from libs.common.ids import IdFactory
from libs.common.protocol.command import TOKEN, RecordToken
from libs.common.protocol.keys import (
    CLIENT_KEYS,
    SIGN_CLIENT_TOKEN,
    ClientKeysRequest,
    SignClientTokenRequest,
    client_token_context,
)
from libs.common.secret import Secret
from services.api.application.authentication import Authentication
from services.api.application.call import Call
from services.api.application.ports import Bus
from services.api.application.refusals import Refusals
from services.api.domain.issuing import check_grant

GATEWAY_AUDIENCE: Final = "keeptrusts-gateway"


@dataclass(frozen=True, slots=True)
class Issued:
    token: Secret
    token_id: str
    expires: datetime


@dataclass(frozen=True, slots=True)
class Tokens:
    bus: Bus
    keys: Callable[[], TokenKeys]
    authentication: Authentication
    refusals: Refusals
    clock: Clock
    ids: IdFactory

    async def issue(self, call: Call, role: str, name: str, ttl_s: int, references: Sequence[str]) -> Issued:
        """Raises: KtError ``forbidden`` when it would grant more than the caller has."""
        allowed = tuple(references)
        check_grant(call.principal, role, allowed)
        token_id, issued = self.ids.new(), self.clock.now().replace(microsecond=0)
        expires = issued + timedelta(seconds=ttl_s)
        if role == CLIENT_ROLE:
            token, key_id = await self._sign_for_client(call.org, name, token_id, issued, expires)
        else:
            keys = self.keys()
            claims = token_claims(
                token_id=token_id,
                subject=name,
                org=call.org,
                role=role,
                issued=issued,
                ttl_s=ttl_s,
                references=allowed,
            )
            token, key_id = keys.sign(claims), keys.current
        record = RecordToken(
            command_id=self.ids.new(),
            caller=call.caller(),
            token_id=token_id,
            role=role,
            name=name,
            expires_at=int(expires.timestamp()),
            key_id=key_id,
            references=allowed,
        )
        await self.bus.call(TOKEN, record)
        return Issued(Secret.from_text(token), token_id, expires)

    async def client_keys(self, call: Call) -> dict[str, Any]:
        """The JWK set (RFC 7517) that verifies tokens of the org's gateway clients."""
        return (await self.bus.call(CLIENT_KEYS, ClientKeysRequest(org=call.org))).jwks

    def introspect(self, call: Call, token: Secret) -> Principal | None:
        """Who a token of the caller's org speaks for; None when it is not valid, which goes on record, or of another
        org.

        Raises:
            KtError: ``unavailable`` while it is not known which tokens are revoked.
        """
        try:
            principal = self.authentication.verify(token.reveal().decode())
        except RefusedToken as error:
            self.refusals.note(error, call.origin, call.org, call.requester)
            return None
        return principal if principal.org == call.org else None

    async def _sign_for_client(
        self, org: str, name: str, token_id: str, issued: datetime, expires: datetime
    ) -> tuple[str, str]:
        claims = {
            "iss": ISSUER,
            "aud": GATEWAY_AUDIENCE,
            "sub": name,
            "org": org,
            "jti": token_id,
            "iat": int(issued.timestamp()),
            "exp": int(expires.timestamp()),
        }
        own = BoxPrivateKey.generate()
        recipient_key = own.public.encoded
        request = SignClientTokenRequest(org=org, claims=claims, recipient_key=recipient_key)
        reply = await self.bus.call(SIGN_CLIENT_TOKEN, request)
        token = own.open(reply.box, client_token_context(org, recipient_key))
        return token.reveal().decode(), reply.key_id

"""Gateways: what they use, and their identity on the bus."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from libs.common.clock import Clock
from libs.common.errors import FieldProblem, KtError
from libs.common.ids import IdFactory
from libs.common.protocol.command import GATEWAY, EnrollGateway
from libs.common.protocol.resolver import GATEWAYS, GatewayView, ListGateways
from libs.common.subjects import GatewayIdentity
from services.api.application.call import Call
from services.api.application.ports import Bus, GatewaySigner

IDENTITY_TTL: Final = timedelta(minutes=15)
"""A gateway renews well before; one whose token ran out is off the bus by then."""

_GATEWAY_ROLE: Final = "gateway"


@dataclass(frozen=True, slots=True)
class BusIdentity:
    gateway: GatewayIdentity
    user_jwt: str
    expires: datetime


@dataclass(frozen=True, slots=True)
class Gateways:
    bus: Bus
    signer: GatewaySigner
    clock: Clock
    ids: IdFactory
    nats_url: str
    """Where gateways reach the bus."""

    async def list(self, call: Call) -> list[GatewayView]:
        return (await self.bus.call(GATEWAYS, ListGateways(org=call.org))).items

    async def bus_identity(self, call: Call, name: str | None, user_public_key: str) -> BusIdentity:
        """Enroll the gateway with the references of its token, and sign an identity for 15 minutes, or for as long as
        the token is valid. Neither outlives the token's revocation: the resolver asks for it on every request.

        Raises:
            KtError: ``forbidden`` when a gateway's token asks for another name; ``invalid_request`` for a key that
                is no public user nkey.
        """
        principal = call.principal
        gateway = GatewayIdentity(call.org, _gateway_name(call, name), principal.token_id)
        now = self.clock.now()
        expires = min(now + IDENTITY_TTL, datetime.fromtimestamp(principal.expires_at, UTC))
        # Signed first, because that checks the key; handed out only after the enrolment is on record.
        user_jwt = self.signer.sign(gateway, user_public_key, now, expires)
        enrolment = EnrollGateway(
            command_id=self.ids.new(),
            caller=call.caller(),
            gateway=gateway.name,
            token_id=gateway.token_id,
            references=principal.references,
        )
        await self.bus.call(GATEWAY, enrolment)
        return BusIdentity(gateway, user_jwt, expires)


def _gateway_name(call: Call, asked: str | None) -> str:
    if call.principal.role == _GATEWAY_ROLE:
        if asked not in (None, call.principal.subject):
            raise KtError("forbidden", "A gateway's token speaks only for the gateway it names.", "Leave `name` out.")
        return call.principal.subject
    if asked is None:
        expected = "the gateway's name, because the token is not a gateway's own"
        raise KtError(
            "invalid_request",
            f"The request is not valid: name is missing; expected {expected}.",
            fields=(FieldProblem("name", "is missing", expected),),
        )
    return asked

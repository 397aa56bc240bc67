"""Gateways are answered while the token they connected with is good."""

from __future__ import annotations

from libs.common.errors import KtError
from libs.common.subjects import GatewayIdentity, gateway_of
from services.resolver.application.ports import CurrentState


async def entitled(current: CurrentState, subject: str) -> GatewayIdentity:
    """Who asks on a gateway's subject.

    Raises:
        KtError: ``forbidden`` when its token was revoked.
    """
    gateway = gateway_of(subject)
    allowed, _ = await current.of_gateway(gateway, ())
    if allowed is None:
        raise KtError(
            "forbidden",
            "The token this gateway connected with was revoked, or is not one it was enrolled with.",
            "Issue another one, and start the gateway with it.",
        )
    return gateway

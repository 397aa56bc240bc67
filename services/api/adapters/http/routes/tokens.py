"""/v1/tokens and /v1/client-keys"""

from __future__ import annotations

from fastapi import APIRouter, Response

from libs.common.auth.scopes import GATEWAYS_CONNECT, GATEWAYS_READ, TOKENS_ISSUE
from services.api.adapters.http.contract import BODY, needs
from services.api.adapters.http.dependencies import Asked
from services.api.adapters.http.models import (
    Introspection,
    IntrospectToken,
    IssuedToken,
    IssueToken,
    JsonWebKeySet,
)
from services.api.adapters.http.responses import respond
from services.api.adapters.http.route import ApiRoute
from services.api.domain.lifetime import lifetime

router = APIRouter(prefix="/v1", tags=["tokens"], route_class=ApiRoute)


@router.post(
    "/tokens",
    status_code=201,
    response_model=IssuedToken,
    **needs(TOKENS_ISSUE, "invalid_name", "name_looks_like_secret", "conflict", *BODY),
)
async def issue_token(body: IssueToken, ask: Asked) -> Response:
    """Issue a token of the caller's org. It is on record before it is answered, and can't be shown again."""
    ttl_s = lifetime(body.ttl, body.ttl_seconds)
    issued = await ask.door.tokens.issue(ask.call, body.role, body.name, ttl_s, body.references)
    return respond(IssuedToken.of(issued, body.role, body.name), 201, store=False)


@router.post("/tokens/introspect", response_model=Introspection, **needs(GATEWAYS_CONNECT, *BODY))
async def introspect_token(body: IntrospectToken, ask: Asked) -> Response:
    """What a token is good for, asked by a gateway that was shown it."""
    principal = ask.door.tokens.introspect(ask.call, body.token)
    if principal is None:
        return respond(Introspection(active=False), store=False)
    found = Introspection(
        active=True,
        subject=principal.subject,
        org=principal.org,
        role=principal.role,
        scopes=sorted(principal.scopes),
    )
    return respond(found, store=False)


@router.get("/client-keys", response_model=JsonWebKeySet, **needs(GATEWAYS_READ))
async def get_client_keys(ask: Asked) -> Response:
    """The public keys that verify the tokens of gateway clients."""
    return respond(JsonWebKeySet.model_validate(await ask.door.tokens.client_keys(ask.call)))

"""/v1/tokens and /v1/client-keys"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response

from libs.common.auth.scopes import GATEWAYS_CONNECT, GATEWAYS_READ, TOKENS_ISSUE, TOKENS_READ, TOKENS_REVOKE
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
from services.api.adapters.http.token_models import (
    KnownToken,
    KnownTokenList,
    RevokedToken,
    RevokedTokens,
    RevokeTokens,
    TokenId,
    TokensQuery,
)
from services.api.domain.lifetime import lifetime

_REVOKE = ("conflict", "outcome_unknown", "stream_damaged")

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


@router.get(
    "/tokens",
    response_model=KnownTokenList,
    **needs(TOKENS_READ, "invalid_request", "invalid_name", "invalid_cursor"),
)
async def list_tokens(query: Annotated[TokensQuery, Query()], ask: Asked) -> Response:
    """A page of the org's tokens, newest first; never the tokens themselves."""
    page = await ask.door.known_tokens.page(ask.call, query.conditions, query.cursor, query.limit)
    items = [KnownToken.of(item) for item in page.items]
    return respond(KnownTokenList(items=items, next_cursor=page.next_cursor))


@router.post("/tokens/revoke", response_model=RevokedTokens, **needs(TOKENS_REVOKE, "not_found", *_REVOKE, *BODY))
async def revoke_tokens(body: RevokeTokens, ask: Asked) -> Response:
    """Revoke a token by its id, or the active ones of a name: refused here at once, everywhere within a second."""
    if body.name is None:
        found, more = [await ask.door.known_tokens.revoke(ask.call, body.id or "")], False
    else:
        found, more = await ask.door.known_tokens.revoke_named(ask.call, body.name)
    return respond(RevokedTokens(items=[RevokedToken.of(item) for item in found], more=more), store=False)


@router.delete("/tokens/{token_id}", response_model=RevokedToken, **needs(TOKENS_REVOKE, "invalid_request", *_REVOKE))
async def revoke_token(token_id: TokenId, ask: Asked) -> Response:
    """Revoke one token. Doing it again changes nothing."""
    return respond(RevokedToken.of(await ask.door.known_tokens.revoke(ask.call, token_id)), store=False)


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

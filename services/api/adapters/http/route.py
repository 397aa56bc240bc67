"""Routes that authenticate before they read a body."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Final

from fastapi import Request, Response
from fastapi.routing import APIRoute

from libs.common.auth.refusal import RefusedToken, unauthenticated
from libs.common.errors import KtError
from libs.common.events import Origin
from libs.common.names import looks_like_secret
from services.api.adapters.http.body import JSON, MERGE_PATCH, read_json
from services.api.adapters.http.contract import required_scope
from services.api.application.call import Call
from services.api.application.door import Door

MAX_TOKEN_CHARACTERS: Final = 8192
MAX_USER_AGENT: Final = 200

_Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class ApiRoute(APIRoute):
    """A route with a contract: token and scope first, then the body, then FastAPI's own handling."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        super().__init__(path, endpoint, **options)
        self.operation_id = self.name

    def get_route_handler(self) -> _Handler:
        scope = required_scope(self.openapi_extra)
        media_types = (JSON, MERGE_PATCH) if "PATCH" in (self.methods or ()) else (JSON,)
        takes_body = self.body_field is not None
        inner = super().get_route_handler()

        async def handle(request: Request) -> Response:
            if scope is not None:
                request.state.call = call = identify(request)
                check_scope(call, scope)
            return await inner(await read_json(request, media_types) if takes_body else request)

        return handle


def identify(request: Request) -> Call:
    """A token that is refused goes on record.

    Raises:
        KtError: ``unauthenticated`` without a valid token.
    """
    door: Door = request.app.state.door
    client = request.client
    origin = Origin(request.state.request_id, client.host if client else "", _user_agent(request))
    try:
        principal = door.authentication.verify(_bearer_token(request))
    except RefusedToken as error:
        door.refusals.note(error, origin)
        raise
    return Call(principal, origin.id, origin.source_ip, origin.user_agent)


def check_scope(call: Call, scope: str) -> None:
    """Raises: KtError ``forbidden`` when the token lacks the scope."""
    if scope not in call.principal.scopes:
        raise KtError(
            "forbidden",
            f"The token's role does not include {scope}.",
            "Use a token with a role that does.",
            extra={"scope": scope},
        )


def _bearer_token(request: Request) -> str:
    headers = request.headers.getlist("authorization")
    if not headers:
        raise unauthenticated("The request carries no token.")
    scheme, _, token = headers[0].partition(" ")
    if len(headers) > 1 or scheme.lower() != "bearer" or not token.isascii() or len(token) > MAX_TOKEN_CHARACTERS:
        raise unauthenticated("The Authorization header holds no bearer token.")
    return token.strip()


def _user_agent(request: Request) -> str:
    """For the record: short, printable, and no place to put a key."""
    agent = request.headers.get("user-agent", "")[:MAX_USER_AGENT]
    return agent if agent.isascii() and agent.isprintable() and not looks_like_secret(agent) else ""

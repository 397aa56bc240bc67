"""/v1/events, /v1/gateways and /v1/legacy-rows"""

from __future__ import annotations

from typing import Annotated

import orjson
from fastapi import APIRouter, Query, Response

from libs.common.auth.scopes import EVENTS_READ, GATEWAYS_READ, VARIABLES_READ
from libs.common.protocol.audit import EventPage
from libs.common.protocol.keys import LegacyStatusReply
from services.api.adapters.http.contract import needs
from services.api.adapters.http.dependencies import Asked
from services.api.adapters.http.models import Events, EventsQuery, Gateways
from services.api.adapters.http.responses import respond
from services.api.adapters.http.route import ApiRoute

router = APIRouter(prefix="/v1", tags=["records"], route_class=ApiRoute)


@router.get(
    "/events",
    response_model=Events,
    **needs(EVENTS_READ, "invalid_request", "invalid_filter", "invalid_cursor"),
)
async def list_events(query: Annotated[EventsQuery, Query()], ask: Asked) -> Response:
    """A page of the audit log, newest first; with `follow`, what came after the cursor, oldest first."""
    page = await ask.door.records.events(ask.call, query.filter, query.limit, query.cursor, query.follow)
    return respond(_events(page))


@router.get("/gateways", response_model=Gateways, **needs(GATEWAYS_READ))
async def list_gateways(ask: Asked) -> Response:
    """The gateways and, for each target, the reference and version it serves."""
    return respond(Gateways(items=await ask.door.gateways.list(ask.call)))


@router.get("/legacy-rows", response_model=LegacyStatusReply, **needs(VARIABLES_READ, "misconfigured"))
async def get_legacy_rows(ask: Asked) -> Response:
    """How many rows of the earlier system's table are left, and which of them can't be used; never a value."""
    return respond(await ask.door.records.legacy_rows(ask.call))


def _events(page: EventPage) -> bytes:
    """The stored documents go out byte for byte: a reader can hash what it was given."""
    positions = [{"stream": stream, "sequence": sequence} for stream, sequence in page.positions]
    rest = orjson.dumps({"positions": positions, "next_cursor": page.next_cursor or None})
    return b'{"items":[' + ",".join(page.items).encode() + b"]," + rest[1:]

"""/v1/events/retention, /v1/events/holds and /v1/events/rebuild"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response

from libs.common.auth.scopes import EVENTS_KEEP, EVENTS_READ, EVENTS_REPAIR
from libs.common.calendar import Span
from libs.common.protocol.audit import RebuildView
from services.api.adapters.http.contract import BODY, needs
from services.api.adapters.http.dependencies import Asked, ToCreate
from services.api.adapters.http.fields import IdentityName
from services.api.adapters.http.keeping_models import AddHold, Holds, RemoveHoldQuery, Retention, SetRetention
from services.api.adapters.http.responses import respond
from services.api.adapters.http.route import ApiRoute

_CHANGE = ("conflict", "outcome_unknown", "invalid_name", "name_looks_like_secret")

router = APIRouter(prefix="/v1/events", tags=["records"], route_class=ApiRoute)


@router.get("/retention", response_model=Retention, **needs(EVENTS_READ))
async def get_retention(ask: Asked) -> Response:
    """How long the log is kept, and what of it goes when."""
    return respond(Retention.of(await ask.door.keeping.look(ask.call)))


@router.put("/retention", status_code=204, **needs(EVENTS_KEEP, *_CHANGE, *BODY))
async def set_retention(body: SetRetention, change: ToCreate) -> Response:
    """Keep every entry for this many days, at least."""
    await change.door.keeping.set_retention(change.call, change.conditions, body.days, understood=body.i_understand)
    return Response(status_code=204)


@router.get("/holds", response_model=Holds, **needs(EVENTS_READ))
async def list_holds(ask: Asked) -> Response:
    """The legal holds of the log."""
    return respond(Holds(items=(await ask.door.keeping.look(ask.call)).holds))


@router.post("/holds", status_code=204, **needs(EVENTS_KEEP, "already_exists", *_CHANGE, *BODY))
async def add_hold(body: AddHold, change: ToCreate) -> Response:
    """Hold a span of the log back from removal."""
    await change.door.keeping.add_hold(
        change.call, change.conditions, body.name, Span(body.begins, body.ends), body.reason
    )
    return Response(status_code=204)


@router.delete("/holds/{name}", status_code=204, **needs(EVENTS_KEEP, "not_found", "invalid_request", *_CHANGE))
async def remove_hold(name: IdentityName, query: Annotated[RemoveHoldQuery, Query()], change: ToCreate) -> Response:
    """Remove a hold. What it alone kept goes at the next opportunity."""
    await change.door.keeping.remove_hold(change.call, change.conditions, name, query.reason)
    return Response(status_code=204)


@router.post(
    "/rebuild", status_code=202, response_model=RebuildView, **needs(EVENTS_REPAIR, "conflict", "invalid_request")
)
async def start_rebuild(change: ToCreate) -> Response:
    """Make the log's tables anew from the streams. They take the place of the live ones if they reproduce what was
    signed; queries go on meanwhile. While one is under way, that is the answer."""
    return respond(await change.door.keeping.rebuild(change.call, change.conditions), status=202)


@router.get("/rebuild", response_model=RebuildView, **needs(EVENTS_READ, "not_found"))
async def get_rebuild(ask: Asked) -> Response:
    """How far the newest rebuild is."""
    return respond(await ask.door.keeping.rebuild_status(ask.call))

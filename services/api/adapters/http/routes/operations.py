"""/healthz, /readyz, /metrics and /openapi.json: for those who run the system, without a token"""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from libs.common.errors import KtError
from services.api.adapters.http.contract import public
from services.api.adapters.http.dependencies import TheDoor
from services.api.adapters.http.metrics import CONTENT_TYPE, Metrics
from services.api.adapters.http.models import Ready, SigningKeySet
from services.api.adapters.http.responses import NO_STORE, respond
from services.api.adapters.http.route import ApiRoute

router = APIRouter(tags=["operations"], route_class=ApiRoute)


@router.get("/healthz", **public())
async def get_health() -> Response:
    """200 while the process runs."""
    return respond(b'{"status":"ok"}')


@router.get("/readyz", response_model=Ready, **public("unavailable"))
async def get_readiness(door: TheDoor) -> Response:
    """200 when every service behind the door answers and it is known which tokens are revoked; else 503, naming what
    is missing.

    `signing_keys` names the keys of access tokens in force. That a change of them was refused is told there and does
    not make the system less ready: it goes on with those it has.
    """
    services, keys = dict(await door.readiness.services()), SigningKeySet.of(door.signing_keys.status)
    missing = [service for service, ready in services.items() if not ready]
    if not door.revocations.known:
        missing.append("the list of revoked tokens")
    if missing:
        extra = {"ready": False, "services": services, "signing_keys": keys.model_dump()}
        raise KtError("unavailable", f"Not ready: {', '.join(missing)}.", extra=extra)
    return respond(Ready(ready=True, services=services, signing_keys=keys), store=False)


@router.get("/metrics", response_class=Response, **public())
async def get_metrics(request: Request) -> Response:
    """Prometheus metrics of the door."""
    metrics: Metrics = request.app.state.metrics
    return Response(metrics.exposition(), headers=NO_STORE, media_type=CONTENT_TYPE)


@router.get("/openapi.json", include_in_schema=False, **public())
async def get_openapi_document(request: Request) -> Response:
    """This document."""
    document: bytes = request.app.state.openapi()
    return respond(document)

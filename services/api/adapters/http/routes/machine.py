"""/v1/machine: what programs ask for"""

from __future__ import annotations

import base64

from fastapi import APIRouter, Response

from libs.common.auth.scopes import GATEWAYS_CONNECT, SECRETS_RESOLVE
from services.api.adapters.http.contract import BODY, needs
from services.api.adapters.http.dependencies import Asked
from services.api.adapters.http.fields import VariableName
from services.api.adapters.http.models import (
    GrantedBusIdentity,
    MachineValue,
    RequestBusIdentity,
    ResolvedReferences,
    ResolvedValue,
    ResolveReferences,
)
from services.api.adapters.http.responses import respond
from services.api.adapters.http.route import ApiRoute

_NAME = ("invalid_name", "name_looks_like_secret")

router = APIRouter(prefix="/v1/machine", tags=["machines"], route_class=ApiRoute)


@router.post(
    "/resolve",
    response_model=ResolvedReferences,
    response_model_exclude_none=True,
    **needs(SECRETS_RESOLVE, "unresolved", "undecryptable", *_NAME, *BODY),
)
async def resolve_references(body: ResolveReferences, ask: Asked) -> Response:
    """The values of several variables, or none of them and the reason for each that failed. Each is on record."""
    if body.recipient_key is None:
        resolved = await ask.door.machine.many(ask.call, body.references)
        answer = ResolvedReferences(results=[ResolvedValue.of(item) for item in resolved])
    else:
        boxed = await ask.door.machine.boxed(ask.call, body.references, body.recipient_key)
        answer = ResolvedReferences(
            results=[
                ResolvedValue(reference=r.reference, version=r.version, sequence=r.sequence) for r in boxed.results
            ],
            box=base64.b64encode(boxed.box).decode(),
            org=ask.call.org,
            requester=boxed.requester,
        )
    return respond(answer.model_dump_json(exclude_none=True).encode(), store=False)


@router.get(
    "/config-variables/{name}",
    response_model=MachineValue,
    **needs(SECRETS_RESOLVE, "not_found", "undecryptable", "unresolved", *_NAME),
)
async def resolve_config_variable(name: VariableName, ask: Asked) -> Response:
    """The value of one variable. When it can't be had, the problem's `reason` says why; either is on record."""
    found = await ask.door.machine.one(ask.call, name)
    value = found.value.reveal().decode()
    return respond(MachineValue(name=name, value=value, version=found.version), store=False)


@router.post(
    "/bus-identity",
    response_model=GrantedBusIdentity,
    **needs(GATEWAYS_CONNECT, "conflict", *_NAME, *BODY),
)
async def grant_bus_identity(body: RequestBusIdentity, ask: Asked) -> Response:
    """A NATS identity for one gateway, good for 15 minutes and no longer than the token. The server lets it speak as
    that gateway only, and it resolves nothing once the token is revoked."""
    identity = await ask.door.gateways.bus_identity(ask.call, body.name, body.user_public_key)
    return respond(GrantedBusIdentity.of(identity, ask.door.gateways.nats_url), store=False)

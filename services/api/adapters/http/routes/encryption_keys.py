"""/v1/encryption-keys"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Response

from libs.common.auth.scopes import KEYS_READ, KEYS_ROTATE
from libs.common.protocol.keys import DeepRotationView, KeysStatusReply
from services.api.adapters.http.contract import headers, needs
from services.api.adapters.http.dependencies import Asked, ToCreate
from services.api.adapters.http.responses import respond
from services.api.adapters.http.route import ApiRoute

PREFIX = "/v1/encryption-keys"

router = APIRouter(prefix=PREFIX, tags=["encryption-keys"], route_class=ApiRoute)


@router.get("", response_model=KeysStatusReply, **needs(KEYS_READ))
async def list_encryption_keys(ask: Asked) -> Response:
    """The keys in use, by fingerprint and id, and what depends on each; never key material."""
    return respond(await ask.door.records.encryption_keys(ask.call))


@router.post(
    "/deep-rotations",
    status_code=202,
    response_model=DeepRotationView,
    **needs(KEYS_ROTATE, "invalid_request", responses={202: headers("Location")}),
)
async def start_deep_rotation(change: ToCreate) -> Response:
    """Replace the org's key-encryption key and wrap every data key anew, in the background.

    While a deep rotation of the org runs, that one is answered.
    """
    started = await change.door.records.deep_rotate(change.call, change.conditions)
    return respond(started, 202, {"Location": f"{PREFIX}/deep-rotations/{started.id}"})


@router.get(
    "/deep-rotations/{rotation}",
    response_model=DeepRotationView,
    **needs(KEYS_READ, "not_found", "invalid_request"),
)
async def get_deep_rotation(rotation: Annotated[str, Path(max_length=64)], ask: Asked) -> Response:
    """How far a deep rotation is."""
    return respond(await ask.door.records.deep_rotation(ask.call, rotation), store=False)

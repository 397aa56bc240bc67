"""/v1/events/…: signed states of the audit log, and proofs"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query, Response

from libs.common.auth.scopes import EVENTS_READ, EVENTS_REPAIR
from services.api.adapters.http.contract import BODY, needs
from services.api.adapters.http.dependencies import Asked
from services.api.adapters.http.proof_models import (
    Checkpoint,
    CheckpointKeys,
    CheckpointQuery,
    ConsistencyProof,
    ConsistencyQuery,
    EventProof,
    Examination,
    ExaminationQuery,
)
from services.api.adapters.http.responses import respond
from services.api.adapters.http.route import ApiRoute

router = APIRouter(prefix="/v1/events", tags=["proofs"], route_class=ApiRoute)

EventId = Annotated[
    str,
    Path(
        max_length=64,
        description="The event's id, or its position STREAM:SEQUENCE.",
        examples=["019aaf9c-6b1e-7c3a-9a53-0d7d3a2f4b11", "KT_EVENTS:17"],
    ),
]


@router.get(
    "/checkpoint", response_model=Checkpoint, **needs(EVENTS_READ, "invalid_request", "not_found", "log_damaged")
)
async def get_checkpoint(query: Annotated[CheckpointQuery, Query()], ask: Asked) -> Response:
    """The newest signed state of a stream's log."""
    return respond(Checkpoint.of(await ask.door.proofs.checkpoint(query.stream, query.covering)))


@router.get("/checkpoint-keys", response_model=CheckpointKeys, **needs(EVENTS_READ))
async def list_checkpoint_keys(ask: Asked) -> Response:
    """The public keys that verify checkpoints, retired ones included."""
    return respond(CheckpointKeys(items=(await ask.door.proofs.checkpoint_keys()).items))


@router.get("/consistency", response_model=ConsistencyProof, **needs(EVENTS_READ, "invalid_request", "log_damaged"))
async def get_consistency(query: Annotated[ConsistencyQuery, Query()], ask: Asked) -> Response:
    """Proof that the log at one size continues the log at a smaller one."""
    found = await ask.door.proofs.consistency(query.stream, query.old, query.new)
    return respond(ConsistencyProof.of(found))


@router.get("/verification", response_model=Examination, **needs(EVENTS_READ, "invalid_request"))
async def get_verification(query: Annotated[ExaminationQuery, Query()], ask: Asked) -> Response:
    """A part of the log compared with the stream and the tree: what is wrong, and what it hashes to."""
    return respond(Examination.of(await ask.door.proofs.verify(ask.call, query.stream, query.first, query.count)))


@router.post("/repairs", response_model=Examination, **needs(EVENTS_REPAIR, *BODY))
async def repair_events(body: ExaminationQuery, ask: Asked) -> Response:
    """Restore what is damaged of a part of the log, where the proofs say what belongs there; on record."""
    return respond(Examination.of(await ask.door.proofs.repair(ask.call, body.stream, body.first, body.count)))


@router.get(
    "/{event_id}/proof",
    response_model=EventProof,
    **needs(EVENTS_READ, "invalid_request", "not_found", "log_damaged"),
)
async def get_proof(event_id: EventId, ask: Asked) -> Response:
    """One event, byte for byte, with the proof that it is in the log."""
    return respond(EventProof.of(await ask.door.proofs.event(ask.call, event_id)))

"""/v1/events/export: the audit log with its proofs, as a stream"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import StreamingResponse

from libs.common.auth.scopes import EVENTS_EXPORT
from libs.common.protocol.exports import ExportPiece
from services.api.adapters.http.contract import headers, needs
from services.api.adapters.http.dependencies import Asked
from services.api.adapters.http.export_models import ExportQuery
from services.api.adapters.http.responses import NO_STORE
from services.api.adapters.http.route import ApiRoute
from services.api.adapters.http.tar import MEDIA_TYPE, archive

router = APIRouter(prefix="/v1/events", tags=["proofs"], route_class=ApiRoute)

ID = "Keeptrusts-Export"
ENTRIES = "Keeptrusts-Export-Entries"


@router.get(
    "/export",
    response_class=StreamingResponse,
    **needs(
        EVENTS_EXPORT,
        "invalid_request",
        "invalid_filter",
        "not_found",
        "misconfigured",
        "conflict",
        "log_damaged",
        responses={
            200: {
                "description": "The files, then `manifest.json` and `manifest.note`",
                "content": {MEDIA_TYPE: {"schema": {"type": "string", "format": "binary"}}},
                **headers(ID, ENTRIES),
            }
        },
    ),
)
async def export_events(query: Annotated[ExportQuery, Query()], ask: Asked) -> StreamingResponse:
    """The log as a tar archive: unpacked, it is the directory that `kt events export` writes.

    A connection that breaks can be gone on with: `resume` with the id in the header `Keeptrusts-Export`, and `after`
    with the name of the last file of rows that came in whole.
    """
    exports, call = ask.door.exports, ask.call
    if query.resume:
        export = await exports.resume(call, query.resume, query.after)
    else:
        export = await exports.begin(
            call, query.format, query.filter, query.begins, query.ends, stream=query.stream or ""
        )
    pieces = exports.pieces(call, export)
    first = await anext(pieces)  # what fails before anything is sent is answered as a problem
    entries = sum(max(0, found.last - found.first + 1) for found in export.ranges)
    return StreamingResponse(
        archive(_again(first, pieces), exports.clock.now()),
        media_type=MEDIA_TYPE,
        headers={
            **NO_STORE,
            ID: export.id,
            ENTRIES: str(entries),
            "Content-Disposition": f'attachment; filename="keeptrusts-export-{export.id}.tar"',
        },
    )


async def _again(first: ExportPiece, others: AsyncIterator[ExportPiece]) -> AsyncIterator[ExportPiece]:
    yield first
    async for piece in others:
        yield piece

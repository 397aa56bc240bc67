"""The access log's records on their way to the system."""

from __future__ import annotations

from typing import assert_never

from libs.common.protocol.gateway_access import (
    GATEWAY_ACCESS,
    EndedNote,
    RecordAccess,
    RefusedNote,
    RequestLine,
    StartedNote,
    UnrecordedNote,
)
from libs.common.protocol.gateway_access import Note as WireNote
from services.gateway.adapters.bus import Bus
from services.gateway.application.access_log import Batch
from services.gateway.domain.access import Ended, Note, RefusedRequests, RequestRecord, Started, UnrecordedRequests


class BusAccess:
    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def record_access(self, batch: Batch) -> int:
        """Raises: KtError what the resolver answered; ``unreachable`` or ``unavailable``."""
        requests = [RequestLine._make(record) for record in batch.records if isinstance(record, RequestRecord)]
        notes = [
            (place, _note(record))
            for place, record in enumerate(batch.records)
            if not isinstance(record, RequestRecord)
        ]
        message = RecordAccess(epoch=batch.epoch, first=batch.first, requests=requests, notes=notes)
        return (await self._bus.call(GATEWAY_ACCESS, "access", message)).recorded


def _note(note: Note) -> WireNote:
    match note:
        case Started():
            return StartedNote(
                at=note.at,
                recording=note.recording.value,
                previous_epoch=note.previous_epoch,
                previous_ended=note.previous_ended,
            )
        case Ended():
            return EndedNote(
                at=note.at,
                served=note.served,
                failed=note.failed,
                refused=note.refused,
                unrecorded=note.unrecorded,
            )
        case RefusedRequests():
            return RefusedNote(
                reason=note.reason.value,
                count=note.count,
                first_at=note.first_at,
                last_at=note.last_at,
                addresses=list(note.addresses),
                elsewhere=note.elsewhere,
            )
        case UnrecordedRequests():
            return UnrecordedNote(
                reason=note.reason.value,
                count=note.count,
                exact=note.exact,
                first_at=note.first_at,
                last_at=note.last_at,
            )
        case other:
            assert_never(other)

"""Exports of the audit log: begun, put on record, and fetched piece by piece."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from libs.common.clock import Clock
from libs.common.errors import KtError
from libs.common.ids import IdFactory
from libs.common.protocol import exports as protocol
from services.api.application.audit_reads import AuditReads, shown
from services.api.application.call import Call
from services.api.application.ports import Bus

Part = Literal["rows", "proofs", "manifest", "signature"]


@dataclass(frozen=True, slots=True)
class Exports:
    bus: Bus
    reads: AuditReads
    ids: IdFactory
    clock: Clock

    async def begin(
        self,
        call: Call,
        format_: Literal["ndjson", "ocsf", "csv", "parquet"],
        filter_: str,
        begins: datetime | None,
        ends: datetime | None,
        *,
        stream: str = "",
    ) -> protocol.ExportView:
        """
        Raises:
            KtError: ``invalid_filter``, ``invalid_request``, ``misconfigured``, ``log_damaged``; ``unavailable`` also
                when it could not be put on record.
        """
        if shown(filter_) != filter_:
            raise KtError(
                "invalid_filter",
                "A word of the filter may be a key; an export carries its filter, so it can't have this one.",
                "Search for a key that leaked with `kt events list`: there the filter is not kept.",
            )
        request = protocol.OpenExport(
            id=self.ids.new(),
            caller=call.caller(),
            format=format_,
            filter=filter_,
            begins=begins,
            ends=ends,
            streams=[stream] if stream else [],
        )
        export = await self.bus.call(protocol.OPEN_EXPORT, request, timeout_s=protocol.PIECE_TIMEOUT_S)
        await self.reads.note_export(call, export, continued=False)
        return export

    async def resume(self, call: Call, export_id: str, after: str) -> protocol.ExportView:
        """
        Raises:
            KtError: ``not_found``; ``unavailable`` also when it could not be put on record.
        """
        request = protocol.FindExport(org=call.org, id=export_id, after=after)
        export = await self.bus.call(protocol.FIND_EXPORT, request)
        await self.reads.note_export(call, export, continued=True)
        return export

    async def pieces(self, call: Call, export: protocol.ExportView) -> AsyncIterator[protocol.ExportPiece]:
        """The files from the export's next segment on, each in pieces of which only the last of an empty file has no
        bytes. Proofs come before their rows: who has a file of rows has what belongs to it.

        Raises:
            KtError: ``log_damaged``, ``unavailable``.
        """
        segment, final = export.segment, False
        while not final:
            rows = await self._piece(call, export, segment, "rows", 0)
            final = rows.final
            if rows.proofs:
                async for piece in self._file(call, export, segment, "proofs"):
                    yield piece
            if rows.name:
                async for piece in self._file(call, export, segment, "rows", rows):
                    yield piece
            segment += 1
        for part in ("manifest", "signature"):
            async for piece in self._file(call, export, segment, part):
                yield piece

    async def _file(
        self,
        call: Call,
        export: protocol.ExportView,
        segment: int,
        part: Part,
        first: protocol.ExportPiece | None = None,
    ) -> AsyncIterator[protocol.ExportPiece]:
        piece = first or await self._piece(call, export, segment, part, 0)
        name, size, sent = piece.name, piece.size, len(piece.data)
        yield piece
        while sent < size:
            piece = await self._piece(call, export, segment, part, sent)
            if (piece.name, piece.size) != (name, size) or not piece.data:
                raise KtError("unavailable", "The file was made anew while it was fetched.", "Go on with the export.")
            sent += len(piece.data)
            yield piece

    async def _piece(
        self, call: Call, export: protocol.ExportView, segment: int, part: Part, offset: int
    ) -> protocol.ExportPiece:
        request = protocol.GetExportPiece(org=call.org, id=export.id, segment=segment, part=part, offset=offset)
        return await self.bus.call(protocol.EXPORT_PIECE, request, timeout_s=protocol.PIECE_TIMEOUT_S)

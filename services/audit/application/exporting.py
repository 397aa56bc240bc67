"""Exports: planned once, made file by file, signed as a whole. What was begun can be gone on with from any file."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from hashlib import sha256
from typing import Final

from libs.common.clock import Clock, rfc3339
from libs.common.errors import KtError
from libs.common.protocol import exports as protocol
from libs.common.transparency.manifest import (
    MANIFEST,
    SIGNATURE,
    VERSION,
    ExportedLog,
    Format,
    Manifest,
    Requester,
)
from services.audit.application.checkpointing import Checkpointing
from services.audit.application.export_ports import Encoders, ExportSigner, ExportStore, RowSource
from services.audit.application.ports import Checkpoints, Freshness
from services.audit.application.segment_cache import SegmentCache
from services.audit.application.segments import Made, SegmentMaker
from services.audit.domain.export import Export, LogRange, Place, Segment, first_place, place_behind
from services.audit.domain.filter_text import parse, render
from services.audit.domain.streams import STREAM_NUMBERS

FRESHNESS_WAIT_S: Final = 2.0


class Exporting:
    def __init__(
        self,
        *,
        store: ExportStore,
        source: RowSource,
        maker: SegmentMaker,
        encoders: Encoders,
        checkpoints: Checkpoints,
        checkpointing: Checkpointing,
        signer: ExportSigner,
        freshness: Freshness,
        clock: Clock,
    ) -> None:
        self._store = store
        self._source = source
        self._maker = maker
        self._span = maker.limits.span
        self._encoders = encoders
        self._checkpoints = checkpoints
        self._checkpointing = checkpointing
        self._signer = signer
        self._freshness = freshness
        self._clock = clock
        self._cache = SegmentCache(self._make)

    async def open(self, _subject: str, request: protocol.OpenExport) -> protocol.ExportView:
        """
        Raises:
            KtError: ``invalid_filter``; ``invalid_request`` when it ends before it begins; ``misconfigured`` when the
                format can't be written here; ``log_damaged``; ``unavailable``.
        """
        if request.begins and request.ends and request.ends <= request.begins:
            raise KtError("invalid_request", "The export ends before it begins; expected a later end, or none.")
        format_ = Format(request.format)
        self._encoders.encoder(format_, next(iter(STREAM_NUMBERS)))
        filter_ = render(parse(request.filter))
        streams = [stream for stream in STREAM_NUMBERS if stream in (request.streams or STREAM_NUMBERS)]
        await self._freshness.caught_up(FRESHNESS_WAIT_S)
        export = Export(
            id=request.id,
            org=request.caller.org,
            format=format_,
            filter=filter_,
            begins=request.begins,
            ends=request.ends,
            requester_type=request.caller.actor_type,
            requester_id=request.caller.actor_id,
            requested_at=self._clock.now(),
            logs=tuple([await self._range(request, stream) for stream in streams]),
        )
        await self._store.add(export)
        return _view(export)

    async def find(self, _subject: str, request: protocol.FindExport) -> protocol.ExportView:
        """Raises: KtError ``not_found``, also for the file after which it is to go on."""
        export = await self._find(request.org, request.id)
        if not request.after:
            return _view(export)
        for segment in await self._store.segments(export.id):
            if segment.file is not None and segment.file.name == request.after:
                return _view(export).model_copy(update={"segment": segment.number + 1})
        raise KtError("not_found", "The export has no file of this name.", "Begin again in an empty directory.")

    async def piece(self, _subject: str, request: protocol.GetExportPiece) -> protocol.ExportPiece:
        """
        Raises:
            KtError: ``not_found``; ``invalid_request`` before its turn; ``log_damaged``; ``unavailable``;
                ``conflict`` when entries went by retention since it was begun.
        """
        export = await self._find(request.org, request.id)
        if request.part == "manifest":
            return _piece(MANIFEST, (await self._manifest(export)).encoded(), request.offset)
        if request.part == "signature":
            digest = sha256((await self._manifest(export)).encoded()).hexdigest()
            return _piece(SIGNATURE, (await self._signer.sign_export(digest)).note.encode(), request.offset)
        made, following = await self._segment(export, request.segment)
        if made is None or made.segment.file is None:
            return protocol.ExportPiece(name="", size=0, data=b"", final=following is None)
        file = made.segment.file
        if request.part == "proofs":
            return _piece(file.proofs.name if file.proofs else "", made.proofs, request.offset)
        piece = _piece(file.name, made.rows, request.offset)
        return piece.model_copy(update={"proofs": file.proofs is not None, "final": following is None})

    async def _range(self, request: protocol.OpenExport, stream: str) -> LogRange:
        minimum = await self._checkpoints.minimum(stream)
        found = await self._source.recorded(stream, request.begins, request.ends)
        try:
            signed = await self._checkpointing.covering(stream, found[1] - 1 if found else 0)
        except KtError as error:
            if error.code != "not_found":
                raise
            return LogRange(stream, 1, 0, 0, minimum, "")
        # What was taken away at an end of the log must not pass for its end.
        first = found[0] if found else signed.size + 1
        last = min(found[1], signed.size) if found and request.ends else signed.size
        if request.begins is None:
            await self._maker.check_accounted(stream, minimum + 1, first - 1)
        if request.ends is None or found:
            return LogRange(stream, max(first, minimum + 1), last, signed.size, minimum, signed.note)
        return LogRange(stream, 1, 0, signed.size, minimum, signed.note)

    async def _find(self, org: str, export_id: str) -> Export:
        found = await self._store.find(org, export_id)
        if found is None:
            raise KtError("not_found", "There is no such export.", "Begin one: `kt events export`.")
        return found

    async def _segment(self, export: Export, number: int) -> tuple[Made | None, Place | None]:
        """A segment, made if need be, and where the next one begins. The next one is made while this is fetched."""
        place = await self._place(export, number)
        if place is None:
            return None, None
        made = await self._cache.get(export, place)
        following = place_behind(export, made.segment, self._span)
        if following is not None:
            self._cache.prepare(export, following)
        return made, following

    async def _place(self, export: Export, number: int) -> Place | None:
        if number == 0:
            return first_place(export, self._span)
        before = await self._store.segment(export.id, number - 1)
        if before is None:
            raise KtError("invalid_request", "The segment can't be made before the one in front of it.")
        return place_behind(export, before, self._span)

    async def _make(self, export: Export, place: Place) -> Made:
        try:
            made = await self._maker.make(export, place)
        except KtError as error:
            if error.code == "log_damaged" and await self._checkpoints.minimum(place.log.stream) > place.log.minimum:
                raise KtError(
                    "conflict",
                    "Since the export was begun, entries of the log went by retention.",
                    "Begin it again, in an empty directory.",
                ) from None
            raise
        await self._store.put(export.id, made.segment)
        return made

    async def _manifest(self, export: Export) -> Manifest:
        segments = await self._store.segments(export.id)
        self._check_finished(export, segments)
        self._cache.forget(export.id, before=len(segments))
        files = [segment.file for segment in segments if segment.file is not None]
        logs = [
            ExportedLog(
                stream=log.stream,
                first=log.first,
                last=log.last,
                rows=sum(file.rows for file in files if file.stream == log.stream),
                minimum=log.minimum,
                checkpoint=log.note,
            )
            for log in export.logs
        ]
        return Manifest(
            version=VERSION,
            id=export.id,
            installation=(await self._signer.keys()).installation,
            org=export.org,
            format=export.format.value,
            schema_version=self._encoders.schema_version(export.format),
            filter=export.filter,
            begins=_text(export.begins),
            ends=_text(export.ends),
            requested_at=rfc3339(export.requested_at),
            requester=Requester(type=export.requester_type, id=export.requester_id),
            complete=not export.filter and all(log.rows == max(0, log.last - log.first + 1) for log in logs),
            logs=logs,
            files=files,
        )

    def _check_finished(self, export: Export, segments: Sequence[Segment]) -> None:
        place = first_place(export, self._span)
        for segment in segments:
            place = place_behind(export, segment, self._span)
        if place is not None:
            raise KtError("invalid_request", "The export has no manifest yet: not every file of it was made.")


def _piece(name: str, content: bytes, offset: int) -> protocol.ExportPiece:
    return protocol.ExportPiece(name=name, size=len(content), data=content[offset : offset + protocol.PIECE_BYTES])


def _view(export: Export) -> protocol.ExportView:
    return protocol.ExportView(
        id=export.id,
        format=export.format.value,
        filter=export.filter,
        begins=_text(export.begins),
        ends=_text(export.ends),
        ranges=[protocol.ExportRange(stream=log.stream, first=log.first, last=log.last) for log in export.logs],
    )


def _text(moment: datetime | None) -> str:
    return rfc3339(moment) if moment else ""

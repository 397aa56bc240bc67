"""Archiving: a month is exported and signed before it goes, if a place for that is set."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from hashlib import sha256
from typing import Literal, Protocol

from libs.common.calendar import Month
from libs.common.ids import IdFactory
from libs.common.protocol import exports as protocol
from libs.common.protocol.parties import Caller
from libs.common.transparency.manifest import MANIFEST, SIGNATURE


class ArchiveFolder(Protocol):
    """Where the files of one month go. Every method raises KtError ``unavailable`` when they can't be written."""

    async def write(self, name: str, pieces: AsyncIterator[bytes]) -> None: ...


class Archive(Protocol):
    async def manifest_of(self, org: str, month: Month) -> bytes | None:
        """That of a finished one."""

    def adding(self, org: str, month: Month) -> AbstractAsyncContextManager[ArchiveFolder]:
        """A folder that is there as a whole once this ends well, and not at all before."""


Piece = Callable[[str, protocol.GetExportPiece], Awaitable[protocol.ExportPiece]]
Part = Literal["rows", "proofs", "manifest", "signature"]


class Exports(Protocol):
    """What :class:`services.audit.application.exporting.Exporting` does for those who ask over the bus."""

    async def open(self, subject: str, request: protocol.OpenExport) -> protocol.ExportView: ...

    async def piece(self, subject: str, request: protocol.GetExportPiece) -> protocol.ExportPiece: ...


class Archiving:
    def __init__(self, exports: Exports, archive: Archive, ids: IdFactory) -> None:
        self._exports = exports
        self._archive = archive
        self._ids = ids

    async def keep(self, org: str, month: Month) -> str:
        """Export a month of an org, unless that is done. Returns the hex SHA-256 of the manifest.

        Raises:
            KtError: ``log_damaged``; ``unavailable``; ``misconfigured``.
        """
        manifest = await self._archive.manifest_of(org, month)
        if manifest is None:
            manifest = await self._export(org, month)
        return sha256(manifest).hexdigest()

    async def _export(self, org: str, month: Month) -> bytes:
        export_id = self._ids.new()
        request = protocol.OpenExport(
            id=export_id,
            caller=Caller(org=org, actor_type="service", actor_id="audit", request_id=export_id),
            begins=month.first_day,
            ends=month.following.first_day,
        )
        await self._exports.open("", request)
        async with self._archive.adding(org, month) as folder:
            segment, final = 0, False
            while not final:
                first = await self._piece(org, export_id, segment, "rows")
                if first.name:
                    await folder.write(first.name, self._pieces(org, export_id, segment, "rows"))
                if first.proofs:
                    proofs = await self._piece(org, export_id, segment, "proofs")
                    await folder.write(proofs.name, self._pieces(org, export_id, segment, "proofs"))
                segment, final = segment + 1, first.final
            manifest = b"".join([piece async for piece in self._pieces(org, export_id, 0, "manifest")])
            await folder.write(SIGNATURE, self._pieces(org, export_id, 0, "signature"))
            await folder.write(MANIFEST, _once(manifest))
        return manifest

    async def _pieces(self, org: str, export_id: str, segment: int, part: Part) -> AsyncIterator[bytes]:
        offset = 0
        while True:
            piece = await self._piece(org, export_id, segment, part, offset)
            yield piece.data
            offset += len(piece.data)
            if offset >= piece.size:
                return

    async def _piece(
        self, org: str, export_id: str, segment: int, part: Part, offset: int = 0
    ) -> protocol.ExportPiece:
        request = protocol.GetExportPiece(org=org, id=export_id, segment=segment, part=part, offset=offset)
        return await self._exports.piece("", request)


async def _once(content: bytes) -> AsyncIterator[bytes]:
    yield content

"""What exporting needs from outside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol

from libs.common.protocol.keys import CheckpointKeysReply, SignExportReply
from libs.common.transparency.manifest import Format
from libs.common.transparency.tiles import TileKey
from services.audit.domain.export import Export, Row, Segment
from services.audit.domain.filter import Filter


class ExportStore(Protocol):
    """Exports and their files are on record. Every method raises KtError ``unavailable`` without the database."""

    async def add(self, export: Export) -> None: ...

    async def find(self, org: str, export_id: str) -> Export | None: ...

    async def put(self, export_id: str, segment: Segment) -> None: ...

    async def segment(self, export_id: str, number: int) -> Segment | None: ...

    async def segments(self, export_id: str) -> Sequence[Segment]:
        """In their order."""


class RowSource(Protocol):
    """The rows of the log. Every method raises KtError ``unavailable`` without the database."""

    async def rows(
        self, org: str, filter_: Filter, stream: str, *, first: int, last: int, limit: int
    ) -> Sequence[Row]:
        """The first ``limit`` rows from ``first`` up to ``last``, in the order of the stream."""

    async def recorded(self, stream: str, begins: datetime | None, ends: datetime | None) -> tuple[int, int] | None:
        """First and last sequence of what was recorded from ``begins`` until before ``ends``; None for nothing."""

    async def accounted(self, stream: str, first: int, last: int) -> int:
        """How many sequences of this range have a row of any org, went by retention, or were never seen."""


class Tiles(Protocol):
    async def tiles(self, stream: str, keys: Sequence[TileKey]) -> Mapping[TileKey, bytes]:
        """Those of the tiles that there are. Raises KtError ``unavailable``."""


class Encoder(Protocol):
    """Makes one file of rows."""

    def add(self, rows: Sequence[Row]) -> None: ...

    def finish(self) -> bytes:
        """The whole file."""


class Encoders(Protocol):
    def encoder(self, format_: Format, stream: str) -> Encoder:
        """
        Raises:
            KtError: ``misconfigured`` when this installation can't write the format.
        """

    def packed(self, lines: Sequence[bytes]) -> bytes:
        """Lines as one zstd frame."""

    def schema_version(self, format_: Format) -> str: ...


class ExportSigner(Protocol):
    async def sign_export(self, manifest_sha256: str) -> SignExportReply: ...

    async def keys(self) -> CheckpointKeysReply: ...

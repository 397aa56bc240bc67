"""Exports of the audit log, as the audit service makes them: file by file, in pieces that the bus carries."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import AwareDatetime, Field

from libs.common.messaging.rpc import Binary, Endpoint, Message
from libs.common.protocol.audit import STREAM_PATTERN
from libs.common.protocol.parties import Caller

PIECE_BYTES: Final = 700 * 1024
"""As base64 in JSON it stays below the bus's default limit of 1 MiB a message."""

PIECE_TIMEOUT_S: Final = 60.0
"""For a piece whose file has to be made first."""


class OpenExport(Message):
    """Begin an export of the caller's org. ``id`` is a UUID. It holds what was recorded from ``begins`` until before
    ``ends``, as far as ``filter`` finds it. ``streams``: of these alone; of all when there are none."""

    id: str
    caller: Caller
    format: Literal["ndjson", "ocsf", "csv", "parquet"] = "ndjson"
    filter: str = Field(default="", max_length=4096)
    begins: AwareDatetime | None = None
    ends: AwareDatetime | None = None
    streams: list[Annotated[str, Field(pattern=STREAM_PATTERN)]] = Field(default_factory=list, max_length=2)


class FindExport(Message):
    """``after`` is the name of the last file of rows that its caller has; empty: none."""

    org: str
    id: str
    after: str = Field(default="", max_length=128)


class ExportRange(Message):
    """Sequences of a stream, first to last; none when the last is smaller."""

    stream: str
    first: int
    last: int


class ExportView(Message):
    """``begins`` and ``ends`` are RFC 3339, or empty. ``segment`` is the next one to fetch."""

    id: str
    format: str
    filter: str
    begins: str
    ends: str
    ranges: list[ExportRange]
    segment: int = 0


class GetExportPiece(Message):
    """Bytes of a file from ``offset``. ``segment`` counts from 0; the rows come with proofs when the reply to the
    first of their pieces says so. Manifest and signature can be had once every segment was made."""

    org: str
    id: str
    segment: int = Field(default=0, ge=0)
    part: Literal["rows", "proofs", "manifest", "signature"] = "rows"
    offset: int = Field(default=0, ge=0)


class ExportPiece(Message):
    """``size`` is that of the whole file; ``name`` is empty when the segment has no rows.

    ``proofs``: the segment has a file of proofs too. ``final``: no segment follows.
    """

    name: str
    size: int
    data: Binary
    proofs: bool = False
    final: bool = False


OPEN_EXPORT = Endpoint("kt.audit.v1.open_export", "audit", OpenExport, ExportView, "Begin an export of the audit log")
FIND_EXPORT = Endpoint("kt.audit.v1.find_export", "audit", FindExport, ExportView, "An export that was begun")
EXPORT_PIECE = Endpoint("kt.audit.v1.export_piece", "audit", GetExportPiece, ExportPiece, "Bytes of an exported file")

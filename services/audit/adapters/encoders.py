"""Files in the formats of exports."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import zstandard

from libs.common.errors import KtError
from libs.common.transparency.export_rows import line_of
from libs.common.transparency.manifest import Format
from services.audit.application.export_ports import Encoder
from services.audit.domain.export import Row

LEVEL: Final = 3
_SCHEMAS: Final = {Format.NDJSON: "CloudEvents 1.0"}


class FormatEncoders:
    """Implements ``Encoders``."""

    def encoder(self, format_: Format, stream: str) -> Encoder:  # noqa: ARG002
        if format_ is Format.NDJSON:
            return NdjsonEncoder()
        raise KtError("misconfigured", f"This installation can't write the format {format_.value}.")

    def packed(self, lines: Sequence[bytes]) -> bytes:
        return zstandard.ZstdCompressor(LEVEL).compress(b"".join(line + b"\n" for line in lines))

    def schema_version(self, format_: Format) -> str:
        return _SCHEMAS[format_]


class NdjsonEncoder:
    """The stored bytes, a line each, in one zstd frame (RFC 8878)."""

    def __init__(self) -> None:
        self._compressor = zstandard.ZstdCompressor(LEVEL).compressobj()
        self._parts: list[bytes] = []

    def add(self, rows: Sequence[Row]) -> None:
        lines = [line_of(row.body, is_event=row.is_event) for row in rows]
        self._parts.append(self._compressor.compress(b"\n".join(lines) + b"\n"))

    def finish(self) -> bytes:
        return b"".join((*self._parts, self._compressor.flush()))

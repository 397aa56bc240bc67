"""Files in the formats of exports."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import zstandard

from libs.common.transparency.export_rows import line_of
from libs.common.transparency.manifest import Format
from libs.exports import ocsf
from libs.exports.csv_text import csv_lines
from libs.exports.flat import COLUMNS, flat
from libs.exports.parquet_table import ParquetFile
from services.audit.application.export_ports import Encoder
from services.audit.domain.export import Row

LEVEL: Final = 3
_FLAT: Final = "keeptrusts flat 1"
_SCHEMAS: Final = {
    Format.NDJSON: "CloudEvents 1.0",
    Format.OCSF: f"OCSF {ocsf.VERSION}",
    Format.CSV: _FLAT,
    Format.PARQUET: _FLAT,
}


class FormatEncoders:
    """Implements ``Encoders``."""

    def encoder(self, format_: Format, stream: str) -> Encoder:
        match format_:
            case Format.NDJSON:
                return NdjsonEncoder()
            case Format.OCSF:
                return OcsfEncoder(stream)
            case Format.CSV:
                return CsvEncoder(stream)
            case Format.PARQUET:
                return ParquetEncoder(stream)

    def packed(self, lines: Sequence[bytes]) -> bytes:
        return zstandard.ZstdCompressor(LEVEL).compress(b"".join(line + b"\n" for line in lines))

    def schema_version(self, format_: Format) -> str:
        return _SCHEMAS[format_]


class _Lines:
    """Lines in one zstd frame (RFC 8878)."""

    def __init__(self) -> None:
        self._compressor = zstandard.ZstdCompressor(LEVEL).compressobj()
        self._parts: list[bytes] = []

    def add_lines(self, lines: Sequence[bytes]) -> None:
        self._parts.append(self._compressor.compress(b"\n".join(lines) + b"\n"))

    def finish(self) -> bytes:
        return b"".join((*self._parts, self._compressor.flush()))


class NdjsonEncoder(_Lines):
    """The stored bytes, a line each."""

    def add(self, rows: Sequence[Row]) -> None:
        self.add_lines([line_of(row.body, is_event=row.is_event) for row in rows])


class OcsfEncoder(_Lines):
    def __init__(self, stream: str) -> None:
        super().__init__()
        self._stream = stream

    def add(self, rows: Sequence[Row]) -> None:
        self.add_lines([ocsf.line(self._stream, row.sequence, row.body, is_event=row.is_event) for row in rows])


class CsvEncoder:
    """Every file begins with the names of the columns."""

    def __init__(self, stream: str) -> None:
        self._stream = stream
        self._parts = [csv_lines([COLUMNS])]

    def add(self, rows: Sequence[Row]) -> None:
        self._parts.append(
            csv_lines([flat(self._stream, row.sequence, row.body, is_event=row.is_event) for row in rows])
        )

    def finish(self) -> bytes:
        return b"".join(self._parts)


class ParquetEncoder:
    def __init__(self, stream: str) -> None:
        self._stream = stream
        self._file = ParquetFile()

    def add(self, rows: Sequence[Row]) -> None:
        flattened = [flat(self._stream, row.sequence, row.body, is_event=row.is_event) for row in rows]
        self._file.add(flattened, [row.body for row in rows])

    def finish(self) -> bytes:
        return self._file.finish()

"""Events as a Parquet file: the columns of :mod:`libs.exports.flat`, and ``body`` with the stored bytes.

pyarrow is large, and comes with the extra ``keeptrusts[parquet]`` alone.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from typing import Any, Final

from libs.common.errors import KtError
from libs.exports.flat import COLUMNS, FlatRow

BODY: Final = "body"
BATCH: Final = 4096


class ParquetFile:
    """One file, written in row groups."""

    def __init__(self) -> None:
        """Raises: KtError ``misconfigured`` without pyarrow."""
        self._arrow, parquet = _pyarrow()
        texts = [(name, self._arrow.string()) for name in COLUMNS if name != "sequence"]
        texts.insert(COLUMNS.index("sequence"), ("sequence", self._arrow.int64()))
        self._schema = self._arrow.schema([*texts, (BODY, self._arrow.binary())])
        self._file = io.BytesIO()
        self._writer = parquet.ParquetWriter(self._file, self._schema, compression="zstd")

    def add(self, rows: Sequence[FlatRow], bodies: Sequence[bytes]) -> None:
        columns = [*zip(*rows, strict=True), bodies]
        arrays = [
            self._arrow.array(column, type=field.type) for column, field in zip(columns, self._schema, strict=True)
        ]
        self._writer.write_batch(self._arrow.RecordBatch.from_arrays(arrays, schema=self._schema))

    def finish(self) -> bytes:
        self._writer.close()
        return self._file.getvalue()


def rows_of(file: Any) -> Iterator[tuple[list[FlatRow], list[bytes]]]:
    """The rows of a file with the stored bytes, a batch at a time. ``file`` is a path or a file object.

    Raises:
        KtError: ``misconfigured`` without pyarrow.
        ValueError: it is no Parquet file with these columns.
    """
    arrow, parquet = _pyarrow()
    try:
        for batch in parquet.ParquetFile(file).iter_batches(BATCH, columns=[*COLUMNS, BODY]):
            *columns, bodies = (column.to_pylist() for column in batch.columns)
            yield list(map(FlatRow._make, zip(*columns, strict=True))), bodies
    except (arrow.ArrowException, TypeError) as error:
        raise ValueError(type(error).__name__) from None


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow  # noqa: PLC0415, ICN001
        import pyarrow.parquet  # noqa: PLC0415
    except ImportError:
        raise KtError(
            "misconfigured",
            "Parquet takes a library that is not installed: pyarrow.",
            "Install it with the audit service, and where exports are verified: pip install 'keeptrusts[parquet]'.",
        ) from None
    return pyarrow, pyarrow.parquet

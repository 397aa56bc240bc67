"""CSV (RFC 4180) with a header: name and value, and if there are such columns description and sensitive."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from typing import Final

from libs.cli.importing.found import Found, broken, found, without_copies
from libs.common.errors import KtError
from libs.common.legacy_rows import is_sensitive

_DELIMITERS: Final = ",;\t"
_MAX_FIELD: Final = 1024 * 1024


def csv_rows(text: str, sensitive: bool) -> Sequence[Found]:
    """The rows behind the header. Other columns are passed over.

    Raises:
        KtError: ``usage`` without such a header, or with quotes that do not close.
    """
    csv.field_size_limit(_MAX_FIELD)
    header, delimiter = _header(text)
    return without_copies(_rows(text, header, delimiter, sensitive))


def _header(text: str) -> tuple[list[str], str]:
    first = text.split("\n", 1)[0]
    for delimiter in _DELIMITERS:
        header = [cell.strip().strip('"').lower() for cell in first.rstrip("\r").split(delimiter)]
        if {"name", "value"} <= set(header) and len(set(header)) == len(header):
            return header, delimiter
    raise KtError(
        "usage",
        "The first line is not the header of a table of variables; expected name,value,description,sensitive.",
        "The columns may stand in any order; description and sensitive may be missing.",
    )


def _rows(text: str, header: Sequence[str], delimiter: str, sensitive: bool) -> Iterator[Found]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        next(reader)
        begins = reader.line_num + 1
        for cells in reader:
            place, begins = f"line {begins}", reader.line_num + 1
            if not any(cells):
                continue
            row = dict(zip(header, cells, strict=False))
            if len(cells) != len(header):
                what = f"The line has {len(cells)} fields; the header has {len(header)}."
                yield broken(place, row.get("name", ""), KtError("invalid_request", what))
                continue
            flag = row.get("sensitive", "").strip()
            yield found(
                place,
                row["name"].strip(),
                row["value"],
                row.get("description", ""),
                sensitive=is_sensitive(flag) if flag else sensitive,
            )
    except csv.Error:
        raise KtError(
            "usage",
            f"What follows line {reader.line_num} is not CSV; expected quotes that close, and doubled ones inside.",
            "Nothing was sent.",
        ) from None

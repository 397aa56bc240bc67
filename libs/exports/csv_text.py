"""Tables as CSV (RFC 4180) that a spreadsheet can open without running anything in it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

_FORMULA: Final = frozenset("=+-@\t\r\n＝＋－＠")
"""A cell that begins with one of these may be taken for a formula (CWE-1236), full-width forms included."""

_QUOTED_WITH: Final = "'"


def csv_line(cells: Iterable[object]) -> str:
    """One record with its CRLF. Every cell is quoted; what may be a formula begins with an apostrophe."""
    return ",".join(map(_cell, cells)) + "\r\n"


def csv_lines(rows: Iterable[Sequence[object]]) -> bytes:
    """Records in UTF-8."""
    return "".join(map(csv_line, rows)).encode("utf-8", "replace")


def _cell(value: object) -> str:
    text = str(value)
    if text[:1] in _FORMULA or text.lstrip()[:1] in _FORMULA:
        text = _QUOTED_WITH + text if text else text
    return '"' + text.replace("\0", "\N{REPLACEMENT CHARACTER}").replace('"', '""') + '"'

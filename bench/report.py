"""The table for people and the lines for programs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from bench.record import Record, rounded

_HEADINGS = ("FIGURE", "VALUE", "UNIT", "REFERENCE", "RATIO", "SPREAD", "BOUND", "HOLDS")
_RIGHT = frozenset((1, 3, 4, 5))


def table(records: Sequence[Record]) -> str:
    rows = [_HEADINGS, *map(_row, records)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADINGS))]
    lines = ["  ".join(_cell(row[c], widths[c], c) for c in range(len(row))).rstrip() for row in rows]
    notes = [f"{r.name}: {note}" for r in records for note in (r.remark, r.flaw) if note]
    return "\n".join([*lines, *(["", *notes] if notes else [])])


def write_lines(path: Path, records: Sequence[Record]) -> None:
    """One JSON object a line."""
    path.write_text("".join(f"{json.dumps(record.as_document())}\n" for record in records), encoding="utf-8")


def _row(record: Record) -> tuple[str, ...]:
    low, high = record.spread
    return (
        record.name,
        _number(record.value),
        record.unit,
        _number(record.reference),
        _number(record.ratio),
        f"{_number(low)}–{_number(high)}",
        str(record.bound),
        "yes" if record.holds else "NO",
    )


def _cell(text: str, width: int, column: int) -> str:
    return text.rjust(width) if column in _RIGHT else text.ljust(width)


def _number(number: float) -> str:
    shown = rounded(number)
    return f"{shown:,.0f}" if abs(shown) >= 1000 else f"{shown:.3g}"

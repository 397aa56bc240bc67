"""One row of whatever is imported."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from libs.common.errors import KtError
from libs.common.legacy_rows import LegacyRow, checked_row
from libs.common.names import checked_variable_name

HIDDEN = "-"
"""Stands for a name that could not be one: what stands in its place may be a value."""


@dataclass(frozen=True, slots=True)
class Found:
    """A row that can be imported, or the ``error`` that says why not. ``place`` points to it."""

    place: str
    name: str
    row: LegacyRow | None = None
    error: KtError | None = None

    def as_body(self) -> dict[str, Any]:
        """What the API is sent to create the variable."""
        if self.row is None:
            raise ValueError("a row that can't be used is not sent")
        return {
            "name": self.row.name,
            "value": self.row.value.reveal().decode(),
            "description": self.row.description,
            "sensitive": self.row.sensitive,
        }


def found(place: str, name: str, value: str, description: str = "", *, sensitive: bool) -> Found:
    try:
        return Found(place, name, checked_row(name, value, description, sensitive))
    except KtError as error:
        return broken(place, name, error)


def broken(place: str, name: str, error: KtError) -> Found:
    try:
        return Found(place, checked_variable_name(name), error=error)
    except KtError:
        return Found(place, HIDDEN, error=error)


def without_copies(rows: Iterable[Found]) -> Sequence[Found]:
    """Names that stand there more than once are no one's: which value is meant can't be told."""
    listed = list(rows)
    times = Counter(row.name for row in listed if row.row is not None)
    return [
        row
        if times[row.name] <= 1
        else Found(row.place, row.name, error=KtError("conflict", f"The name stands there {times[row.name]} times."))
        for row in listed
    ]

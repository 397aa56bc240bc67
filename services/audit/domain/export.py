"""Exports: what was asked for, and how it is cut into files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, NamedTuple

from libs.common.transparency.manifest import ExportedFile, Format


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one file: ``rows`` at most (12 MB of them as NDJSON.zst), among at most ``span`` sequences however few of
    them match, and about ``bytes`` of stored bytes."""

    rows: int = 65_536
    span: int = 1_048_576
    bytes: int = 64 * 1024 * 1024


DEFAULT_LIMITS: Final = Limits()


class Row(NamedTuple):
    """``is_event``: the stored bytes are an event, and so one JSON document."""

    sequence: int
    body: bytes
    is_event: bool


@dataclass(frozen=True, slots=True)
class LogRange:
    """Sequences of a stream from ``first`` up to ``last``, none when that is smaller, and the checkpoint over them.

    ``size`` is 0 and ``note`` empty while a stream has no entries.
    """

    stream: str
    first: int
    last: int
    size: int
    minimum: int
    note: str


@dataclass(frozen=True, slots=True)
class Export:
    """``filter`` is the canonical text."""

    id: str
    org: str
    format: Format
    filter: str
    begins: datetime | None
    ends: datetime | None
    requester_type: str
    requester_id: str
    requested_at: datetime
    logs: tuple[LogRange, ...]


@dataclass(frozen=True, slots=True)
class Place:
    """A segment begins at ``first`` of a log of the export, and may reach to ``last``."""

    number: int
    log: LogRange
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Segment:
    """A segment that was made. It covers its stream up to ``last``; ``file`` is None when nothing there matched."""

    number: int
    stream: str
    last: int
    file: ExportedFile | None


def first_place(export: Export, span: int) -> Place | None:
    return _place(0, export.logs, span)


def place_behind(export: Export, segment: Segment, span: int) -> Place | None:
    """Where the next segment begins; None behind the last one."""
    index = next(i for i, log in enumerate(export.logs) if log.stream == segment.stream)
    if segment.last < export.logs[index].last:
        return _within(segment.number + 1, export.logs[index], segment.last + 1, span)
    return _place(segment.number + 1, export.logs[index + 1 :], span)


def _place(number: int, logs: Sequence[LogRange], span: int) -> Place | None:
    log = next((log for log in logs if log.first <= log.last), None)
    return None if log is None else _within(number, log, log.first, span)


def _within(number: int, log: LogRange, first: int, span: int) -> Place:
    return Place(number, log, first, min(log.last, first + span - 1))

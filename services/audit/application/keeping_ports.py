"""What keeping the log needs from outside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from libs.common.calendar import Month
from libs.common.protocol.command import Retired
from services.audit.domain.retention import Rules


class SequenceRange(NamedTuple):
    """Entries of one stream: how many there are from ``first`` to ``last``."""

    stream: int
    first: int
    last: int
    entries: int


@dataclass(frozen=True, slots=True)
class MonthContent:
    """What a month of the log holds, and whose."""

    ranges: tuple[SequenceRange, ...]
    orgs: frozenset[str]
    gaps: tuple[int, ...] = ()
    """The streams of which an entry is missing between the first and the last, here and in the other months."""


@dataclass(frozen=True, slots=True)
class TreeHead:
    size: int
    root: bytes


class KeptLog(Protocol):
    """The log as months that come and go. Every method raises KtError ``unavailable`` without the database."""

    def turn(self) -> AbstractAsyncContextManager[bool]:
        """Whether it is this instance's turn; no other one has it meanwhile."""

    async def rules(self) -> Rules: ...

    async def decided(self) -> Mapping[Month, frozenset[str]]:
        """The months that are on record as gone, and for which orgs."""

    async def months(self) -> Sequence[Month]:
        """Those that are there, oldest first."""

    async def content(self, month: Month) -> MonthContent: ...

    async def head(self, stream: int) -> TreeHead:
        """The Merkle tree over a stream as it is now."""

    async def remove(self, month: Month) -> None:
        """For good. Repeating it finishes a removal that was interrupted."""


class RetentionRecorder(Protocol):
    async def record(
        self, org: str, month: Month, days: int, ranges: Sequence[Retired], manifest_digest: str
    ) -> None:
        """``manifest_digest``: of the archive that was made of it; empty for none.

        Raises:
            KtError: ``conflict`` when the month is held, or to be kept for longer.
        """

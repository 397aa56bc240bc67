"""What the use cases of the audit service need from outside."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from services.audit.domain.filter import Filter
from services.audit.domain.page import EntryKey, ListedEntry, Positions


class EntryReader(Protocol):
    """Reads the log of one org at a time."""

    async def newest(
        self, org: str, filter_: Filter, limit: int, *, before: EntryKey | None = None, up_to: Positions | None = None
    ) -> Sequence[ListedEntry]:
        """Newest first. ``before`` leaves out that entry and all newer ones; ``up_to`` all with a later sequence.

        Raises:
            KtError: ``unavailable``.
        """

    async def after(
        self, org: str, filter_: Filter, limit: int, *, after: Positions, up_to: Positions
    ) -> Sequence[ListedEntry]:
        """Oldest first, each stream in its own order: the first ``limit`` behind ``after`` and not behind ``up_to``.

        Raises:
            KtError: ``unavailable``.
        """

    async def positions(self) -> Positions:
        """How far each stream is on record: every entry up to there can be read.

        Raises:
            KtError: ``unavailable``.
        """


class Freshness(Protocol):
    async def caught_up(self, within_s: float) -> bool:
        """Wait until the log holds what the streams hold now; False when that takes longer or can't be known."""

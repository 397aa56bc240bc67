"""What rebuilding the log needs from outside."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from services.audit.domain.rebuild import Rebuild, RebuiltTree


class Rebuilds(Protocol):
    """Rebuilds as they are on record. Every method raises KtError ``unavailable`` without the database."""

    async def add(self, rebuild: Rebuild) -> Rebuild:
        """Returns the one with this id, or the one that is under way, if there is one."""

    async def newest(self) -> Rebuild | None: ...

    async def put(self, rebuild: Rebuild) -> None: ...

    def turn(self) -> AbstractAsyncContextManager[Rebuild | None]:
        """The one that is under way, if there is one and no other instance works on it."""


class FreshTables(Protocol):
    """Tables beside the live ones, which nobody else sees."""

    async def carry_over(self) -> None:
        """What the streams don't hold any more is taken from the live log, as far as its tree agrees.

        Raises:
            KtError: ``log_damaged`` when a row is not the one whose hash is in the tree.
        """

    def replaying(self) -> AbstractAsyncContextManager[None]:
        """While it lasts, the streams flow into the tables."""

    async def caught_up(self, within_s: float) -> bool:
        """Wait until the tables hold what the streams hold."""

    async def progress(self) -> tuple[int, int]:
        """How many messages are in the tables, and how many the streams hold."""

    async def index(self) -> None:
        """Make the indexes, which are faster made of what is there than kept while it comes."""

    async def remove_retired(self) -> None:
        """Remove the months that retention removed from the live log."""

    async def root(self, stream: str, size: int) -> bytes | None:
        """The root of the first ``size`` leaves of a stream's tree; None when it has fewer."""

    async def swap(self, swapped: Rebuild) -> bool:
        """Put the tables in the place of the live ones, and ``swapped`` on record in the same transaction.

        False when the live tables are in use, or ahead: nothing has changed then.
        """


class FreshLog(Protocol):
    def made(self) -> AbstractAsyncContextManager[FreshTables]:
        """Empty tables; what is left of them at the end goes."""


class RebuildRecorder(Protocol):
    async def record(self, rebuild: Rebuild, trees: Sequence[RebuiltTree]) -> None: ...

"""What the use cases of the audit service need from outside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from libs.common.protocol.keys import CheckpointKeysReply, SignCheckpointReply
from libs.common.transparency.merkle import Range
from services.audit.domain.checkpoint import SignedCheckpoint
from services.audit.domain.examination import Finding, Seen
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


@dataclass(frozen=True, slots=True)
class FoundEntry:
    stream: str
    sequence: int
    body: bytes


class EntryFinder(Protocol):
    """Finds one entry of an org. Raises KtError ``unavailable`` without the database."""

    async def at(self, org: str, stream: str, sequence: int) -> FoundEntry | None: ...

    async def with_id(self, org: str, event_id: str) -> FoundEntry | None:
        """
        Raises:
            KtError: ``invalid_request`` for what can't be an event's id.
        """


class Trees(Protocol):
    """The trees that grow with the log.

    Every method raises KtError ``unavailable`` without the database.
    """

    async def size(self, stream: str) -> int:
        """How many leaves there are."""

    async def hashes(self, stream: str, ranges: Sequence[Range]) -> Sequence[bytes]:
        """The hashes of the ranges of a path, or of whole trees.

        Raises:
            KtError: ``log_damaged`` when the tree does not hold them.
        """


class Checkpoints(Protocol):
    """Signed states of the log. Every method raises KtError ``unavailable`` without the database."""

    def turn(self, stream: str) -> AbstractAsyncContextManager[None]:
        """While it lasts, no other instance signs for this stream."""

    async def newest(self, stream: str) -> SignedCheckpoint | None: ...

    async def at(self, stream: str, size: int) -> SignedCheckpoint | None: ...

    async def add(self, checkpoint: SignedCheckpoint) -> None: ...

    async def minimum(self, stream: str) -> int:
        """Leaves with a lower index have no entry any more."""

    async def signed_sizes(self) -> Mapping[tuple[str, str], tuple[int, int]]:
        """First and last size by key id and stream."""


class Signer(Protocol):
    async def sign(
        self, stream: str, size: int, root: bytes, old_size: int, proof: Sequence[bytes]
    ) -> SignCheckpointReply:
        """
        Raises:
            KtError: ``conflict`` with the size that was signed before in ``extra.size``; ``log_damaged`` when the
                tree contradicts what was signed before; ``unavailable``.
        """

    async def keys(self) -> CheckpointKeysReply: ...


class Copies(Protocol):
    """A place for copies of checkpoints."""

    async def put(self, name: str, content: bytes) -> None:
        """Store it, durably; what has that name already stays.

        Raises:
            KtError: ``unavailable``, saying why without credentials or what a server sent.
        """


class Cosigner(Protocol):
    async def cosign(self, old_size: int, proof: Sequence[bytes], note: str, text: str) -> str:
        """The signature line that a witness gives for a note with this text; ``proof`` is from ``old_size``.

        Raises:
            KtError: ``conflict`` with the size that it knows in ``extra.size``; ``unavailable``; ``not_proven``.
        """


class Places(Protocol):
    """How far each place has the states of the log. Every method raises KtError ``unavailable``."""

    async def size(self, place: str, stream: str) -> int: ...

    async def move(self, place: str, stream: str, size: int, moment: datetime) -> None: ...

    async def add_cosignature(self, checkpoint: SignedCheckpoint, line: str) -> None: ...

    async def cosigned(self, checkpoint: SignedCheckpoint) -> str:
        """Its note, with the signatures of witnesses behind the log's own."""


class Examiner(Protocol):
    """Compares one stream with the log and the tree."""

    async def examine(self, first: int, count: int, *, repair: bool) -> Examined:
        """
        Raises:
            KtError: ``unavailable``.
        """


@dataclass(frozen=True, slots=True)
class Examined:
    """``findings`` with what came of each; ``hashes`` as in :class:`libs.common.protocol.audit.Examination`."""

    seen: Seen
    findings: Sequence[tuple[Finding, str]]
    hashes: Sequence[bytes]

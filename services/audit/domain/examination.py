"""Comparing the three records of what happened: the log's rows, the stream's messages, the tree's leaves.

The leaf decides where it is proven, that is, where it leads to a root that was signed. Where it is not, a row and a
message that agree decide, and nothing does when they don't.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from libs.common.transparency.merkle import UNSEEN_LEAF


class Side(StrEnum):
    """Which of the three records is damaged."""

    LOG = "log"
    STREAM = "stream"
    TREE = "tree"


class Kind(StrEnum):
    """What was done. The names are part of the interface (docs/reference/audit-proofs.md)."""

    ROW_CHANGED = "row_changed"
    ROW_MISSING = "row_missing"
    ROW_MOVED = "row_moved"
    ROW_DUPLICATED = "row_duplicated"
    ROW_ADDED = "row_added"
    COLUMNS_CHANGED = "columns_changed"
    MESSAGE_CHANGED = "message_changed"
    MESSAGE_MISSING = "message_missing"
    MESSAGE_MOVED = "message_moved"
    SEQUENCE_REUSED = "sequence_reused"
    STREAM_SHORTENED = "stream_shortened"
    TREE_CHANGED = "tree_changed"
    UNDECIDED = "undecided"

    @property
    def side(self) -> Side:
        if self.name.startswith(("ROW", "COLUMNS")):
            return Side.LOG
        return Side.TREE if self in (Kind.TREE_CHANGED, Kind.UNDECIDED) else Side.STREAM


@dataclass(frozen=True, slots=True)
class Finding:
    """``of`` is the sequence whose entry was found here instead, 0 if none."""

    kind: Kind
    first: int
    last: int
    of: int = 0


@dataclass(frozen=True, slots=True)
class RowSeen:
    """``columns_hold``: what the row is searched by is what its body says."""

    hash: bytes
    columns_hold: bool
    recorded_us: int


@dataclass(frozen=True, slots=True)
class MessageSeen:
    hash: bytes
    stored_us: int


@dataclass(frozen=True, slots=True)
class Seen:
    """What there is from the sequence ``first`` to ``last``.

    ``leaves`` holds those that fit the tree above them, of ``size`` in all; up to ``signed`` they are proven. The
    stream holds ``stream_first`` to ``stream_last``; what is in front of it is gone as it should be if it
    ``expires``. Up to ``minimum``, and in the ``retired`` ranges (first to last), there need be no rows.
    """

    first: int
    last: int
    size: int
    signed: int
    minimum: int
    stream_first: int
    stream_last: int
    expires: bool
    leaves: Mapping[int, bytes]
    rows: Mapping[int, Sequence[RowSeen]]
    messages: Mapping[int, MessageSeen]
    retired: Sequence[tuple[int, int]] = ()

    def may_lack(self, sequence: int) -> bool:
        """Whether its row went by retention, as was decided."""
        return sequence <= self.minimum or any(first <= sequence <= last for first, last in self.retired)


def examine(seen: Seen) -> list[Finding]:
    """What is wrong, in the order of sequences; neighbours with the same fault are one finding."""
    places = {hash_: sequence for sequence, hash_ in seen.leaves.items()}
    found: list[Finding] = []
    for sequence in range(seen.first, seen.last + 1):
        found.extend(_at(seen, places, sequence))
    return list(merged(found))


def truth(seen: Seen, sequence: int) -> bytes | None:
    """The hash of the entry that belongs here; None where nothing decides."""
    leaf, message = seen.leaves.get(sequence), seen.messages.get(sequence)
    if leaf is not None and sequence <= seen.signed:
        return leaf
    if message is not None and any(row.hash == message.hash for row in seen.rows.get(sequence, ())):
        return message.hash
    return leaf


def merged(findings: Iterable[Finding]) -> Iterator[Finding]:
    """One finding for neighbours with the same fault; those that name another sequence stay apart."""
    order: list[Finding] = []
    newest: dict[Kind, int] = {}
    for finding in findings:
        place = newest.get(finding.kind)
        if place is not None and not finding.of and order[place].last + 1 == finding.first and not order[place].of:
            order[place] = Finding(finding.kind, order[place].first, finding.last)
        else:
            newest[finding.kind] = len(order)
            order.append(finding)
    return iter(order)


def _at(seen: Seen, places: Mapping[bytes, int], sequence: int) -> Iterator[Finding]:
    if sequence > seen.size:
        if seen.rows.get(sequence):
            yield Finding(Kind.ROW_ADDED, sequence, sequence)
        return
    if seen.may_lack(sequence) and sequence not in seen.leaves:
        return
    right = truth(seen, sequence)
    if seen.leaves.get(sequence) != right or right is None:
        yield Finding(Kind.TREE_CHANGED, sequence, sequence)
    if right == UNSEEN_LEAF:
        if seen.rows.get(sequence):
            yield Finding(Kind.ROW_ADDED, sequence, sequence)
    elif right is not None:
        yield from _row(seen, places, sequence, right)
        yield from _message(seen, places, sequence, right)
    elif not seen.may_lack(sequence):
        yield Finding(Kind.UNDECIDED, sequence, sequence)


def _row(seen: Seen, places: Mapping[bytes, int], sequence: int, right: bytes) -> Iterator[Finding]:
    rows = seen.rows.get(sequence, ())
    if not rows:
        if not seen.may_lack(sequence):
            yield Finding(Kind.ROW_MISSING, sequence, sequence)
        return
    if len(rows) > 1:
        yield Finding(Kind.ROW_DUPLICATED, sequence, sequence)
    elif rows[0].hash != right:
        of = places.get(rows[0].hash, 0)
        yield Finding(Kind.ROW_MOVED if of else Kind.ROW_CHANGED, sequence, sequence, of)
    elif not rows[0].columns_hold:
        yield Finding(Kind.COLUMNS_CHANGED, sequence, sequence)


def _message(seen: Seen, places: Mapping[bytes, int], sequence: int, right: bytes) -> Iterator[Finding]:
    if sequence > seen.stream_last:
        yield Finding(Kind.STREAM_SHORTENED, sequence, sequence)
        return
    message = seen.messages.get(sequence)
    if message is None:
        if sequence >= seen.stream_first or not seen.expires:
            yield Finding(Kind.MESSAGE_MISSING, sequence, sequence)
        return
    if message.hash == right:
        return
    of = places.get(message.hash, 0)
    if of:
        yield Finding(Kind.MESSAGE_MOVED, sequence, sequence, of)
        return
    rows = seen.rows.get(sequence, ())
    again = len(rows) == 1 and rows[0].hash == right and message.stored_us != rows[0].recorded_us
    yield Finding(Kind.SEQUENCE_REUSED if again else Kind.MESSAGE_CHANGED, sequence, sequence)

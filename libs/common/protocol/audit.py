"""What the audit service answers."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from libs.common.messaging.rpc import Binary, Endpoint, Message
from libs.common.protocol.parties import Caller


class ListEvents(Message):
    """A page of one org's log. ``filter`` is in the language of docs/reference/event-filter.md.

    Newest first; ``cursor`` goes on where a page ended, for the same org and filter. With ``follow``, oldest first:
    without a cursor the newest entries, with one what came after it.
    """

    org: str
    filter: str = Field(default="", max_length=4096)
    limit: int = Field(default=50, ge=1, le=500)
    cursor: str = Field(default="", max_length=1024)
    follow: bool = False


class EventPage(Message):
    """``items`` are the stored documents as JSON text, byte for byte; ``positions`` their stream and sequence.

    A page may hold fewer than ``limit``, because it is bounded in bytes as well. ``next_cursor`` is empty at the end
    of a listing; following has no end, and every page has one. What was stored but is no event is shown as a document
    of type ``kt.audit.unreadable.v1``.
    """

    items: list[str]
    positions: list[tuple[str, int]]
    next_cursor: str


STREAM_PATTERN = r"^(KT_EVENTS|KT_ACCESS)$"


class GetCheckpoint(Message):
    """The newest signed checkpoint of a stream's log; with ``covering``, one of more entries than that."""

    stream: str = Field(pattern=STREAM_PATTERN)
    covering: int = Field(default=0, ge=0, le=2**53 - 1)


class CheckpointView(Message):
    """``note`` is the signed note (C2SP tlog-checkpoint), with the cosignatures that witnesses gave to it.

    Entries whose index is below ``minimum`` are not kept any more.
    """

    stream: str
    size: int
    root: Binary
    note: str
    signed_at: str
    minimum: int = 0


class GetCheckpointKeys(Message):
    pass


class CheckpointKeyView(Message):
    """``keys`` are verifier keys (C2SP signed-note) by stream.

    It signed, by stream, sizes from ``first_size`` up to ``last_size``; streams for which it signed nothing are left
    out. ``retired_at`` is empty for the key that signs now.
    """

    id: str
    keys: dict[str, str]
    created_at: str
    retired_at: str
    first_size: dict[str, int]
    last_size: dict[str, int]


class CheckpointKeysView(Message):
    """Oldest first."""

    items: list[CheckpointKeyView]


class Prove(Message):
    """One entry of an org by its event id, or by its place."""

    org: str
    event_id: str = Field(default="", max_length=256)
    stream: str = ""
    sequence: int = Field(default=0, ge=0)


class Proof(Message):
    """``body`` is at ``sequence`` of the stream; ``path`` (RFC 6962 section 2.1.1) leads to the checkpoint's root."""

    stream: str
    sequence: int
    body: Binary
    path: list[Binary]
    checkpoint: CheckpointView


class GetConsistency(Message):
    """How the log of size ``new`` continues the one of size ``old``; sizes are those of signed checkpoints or not."""

    stream: str = Field(pattern=STREAM_PATTERN)
    old: int = Field(ge=0, le=2**53 - 1)
    new: int = Field(ge=0, le=2**53 - 1)


class Consistency(Message):
    """``proof`` as RFC 6962 section 2.1.2; the roots are those that the log's hashes give now."""

    stream: str
    old: int
    new: int
    old_root: Binary
    new_root: Binary
    proof: list[Binary]


class Examine(Message):
    """Compare rows, messages and leaves from the sequence ``first`` on, ``count`` of them at most.

    With ``repair``, what is damaged of the log is restored where the proofs say what belongs there.
    """

    stream: str = Field(pattern=STREAM_PATTERN)
    first: int = Field(ge=1, le=2**53 - 1)
    count: int = Field(default=4096, ge=1, le=4096)
    repair: bool = False


class FindingView(Message):
    """``kind`` from ``first`` to ``last``; ``of`` is the sequence whose entry stands there instead, 0 if none.

    ``outcome`` says, after a repair, what came of it: ``repaired``, or why not.
    """

    kind: str
    side: str
    first: int
    last: int
    of: int = 0
    outcome: str = ""


class Examination(Message):
    """What was compared, up to ``last``, in a log of ``size`` entries; ``last`` is 0 behind its end.

    ``hashes`` are the perfect subtrees over the leaf hashes of the entries, from ``first`` to ``last`` (none of them
    beyond ``size``), made from the rows where they are kept. The stream holds ``stream_first`` to ``stream_last``.
    ``halted`` says why nothing is put on record any more, if so.
    """

    stream: str
    first: int
    last: int
    size: int
    minimum: int
    stream_first: int
    stream_last: int
    hashes: list[Binary]
    findings: list[FindingView]
    halted: str = ""


class StartRebuild(Message):
    command_id: str
    caller: Caller


class GetRebuild(Message):
    org: str


class RebuiltTree(Message):
    """``root`` (hex) of the first ``size`` entries was signed, and reproduced."""

    stream: str
    size: int
    root: str


class RebuildView(Message):
    """``phase`` is waiting, replaying, indexing, comparing, swapped, completed or failed; ``detail`` says why."""

    id: str
    phase: str
    requested_by: str
    requested_at: datetime
    replayed: int
    total: int
    trees: list[RebuiltTree]
    detail: str
    ended_at: datetime | None


LIST = Endpoint("kt.audit.v1.list", "audit", ListEvents, EventPage, "A page of the audit log")
CHECKPOINT = Endpoint("kt.audit.v1.checkpoint", "audit", GetCheckpoint, CheckpointView, "A signed state of the log")
CHECKPOINT_KEYS = Endpoint(
    "kt.audit.v1.checkpoint_keys", "audit", GetCheckpointKeys, CheckpointKeysView, "Keys that verify the log's states"
)
PROVE = Endpoint("kt.audit.v1.prove", "audit", Prove, Proof, "One entry with the proof that it is in the log")
CONSISTENCY = Endpoint(
    "kt.audit.v1.consistency", "audit", GetConsistency, Consistency, "That a state of the log continues an older one"
)
EXAMINE = Endpoint(
    "kt.audit.v1.examine", "audit", Examine, Examination, "Compare a part of the log with the stream and the tree"
)


class KeepingRequest(Message):
    org: str


class HoldView(Message):
    """``ends`` is None for a hold without end."""

    name: str
    begins: datetime
    ends: datetime | None
    reason: str
    added_at: datetime
    added_by: str


class MonthView(Message):
    """A month of the log. ``goes_at`` is from when on it may be removed; ``held_by`` what keeps it longer."""

    month: str
    entries: int
    goes_at: datetime
    held_by: list[str]


class KeepingReply(Message):
    """``days`` is what the org set, ``policy_days`` the most its gateways' policies ask for (0: none does)."""

    days: int
    policy_days: int
    holds: list[HoldView]
    months: list[MonthView]


KEEPING = Endpoint("kt.audit.v1.keeping", "audit", KeepingRequest, KeepingReply, "How long the log is kept")
REBUILD = Endpoint("kt.audit.v1.rebuild", "audit", StartRebuild, RebuildView, "Rebuild the log from the streams")
REBUILD_STATUS = Endpoint("kt.audit.v1.rebuild_status", "audit", GetRebuild, RebuildView, "How far a rebuild is")

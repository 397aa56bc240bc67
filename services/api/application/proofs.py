"""What proves the audit log."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from libs.common.errors import KtError
from libs.common.events.audit import Repair
from libs.common.protocol import audit
from services.api.application.audit_reads import AuditReads
from services.api.application.call import Call
from services.api.application.ports import Bus

EXAMINE_TIMEOUT_S: Final = 20.0
MAX_RECORDED: Final = 50
"""Findings of a repair in one event, which must not exceed 16 KiB."""

_MAX_DIGITS: Final = 16


@dataclass(frozen=True, slots=True)
class Proofs:
    bus: Bus
    reads: AuditReads

    async def checkpoint(self, stream: str, covering: int) -> audit.CheckpointView:
        """Raises: KtError ``not_found`` while the log is empty."""
        return await self.bus.call(audit.CHECKPOINT, audit.GetCheckpoint(stream=stream, covering=covering))

    async def checkpoint_keys(self) -> audit.CheckpointKeysView:
        return await self.bus.call(audit.CHECKPOINT_KEYS, audit.GetCheckpointKeys())

    async def consistency(self, stream: str, old: int, new: int) -> audit.Consistency:
        """Raises: KtError ``invalid_request`` when the log is smaller than that."""
        return await self.bus.call(audit.CONSISTENCY, audit.GetConsistency(stream=stream, old=old, new=new))

    async def event(self, call: Call, name: str) -> audit.Proof:
        """``name`` is an event id, or ``STREAM:SEQUENCE``. It is a reading of the log, and on record as such.

        Raises:
            KtError: ``not_found``, ``invalid_request``, ``log_damaged``; ``unavailable``.
        """
        proof = await self.bus.call(audit.PROVE, _prove(call.org, name))
        await self.reads.note(call, "prove", name, begins=True)
        return proof

    async def verify(self, call: Call, stream: str, first: int, count: int) -> audit.Examination:
        """Compare a part of the log with the stream and the tree."""
        if first == 1:
            await self.reads.note(call, "verify", stream, begins=True)
        request = audit.Examine(stream=stream, first=first, count=count)
        return await self.bus.call(audit.EXAMINE, request, timeout_s=EXAMINE_TIMEOUT_S)

    async def repair(self, call: Call, stream: str, first: int, count: int) -> audit.Examination:
        """Restore what is damaged of a part of the log, where the proofs say what belongs there."""
        request = audit.Examine(stream=stream, first=first, count=count, repair=True)
        found = await self.bus.call(audit.EXAMINE, request, timeout_s=EXAMINE_TIMEOUT_S)
        repairs = [Repair(f.kind, f.first, f.last, f.outcome) for f in found.findings[:MAX_RECORDED]]
        if repairs:
            await self.reads.repaired(call, stream, repairs)
        return found


def _prove(org: str, name: str) -> audit.Prove:
    stream, separator, sequence = name.partition(":")
    if not separator:
        return audit.Prove(org=org, event_id=name)
    if not (sequence.isascii() and sequence.isdigit()) or len(sequence) > _MAX_DIGITS:
        raise KtError("invalid_request", "The position is not of the form STREAM:SEQUENCE.")
    return audit.Prove(org=org, stream=stream, sequence=int(sequence))

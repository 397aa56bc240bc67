"""What proves the audit log."""

from __future__ import annotations

from dataclasses import dataclass

from libs.common.errors import KtError
from libs.common.protocol import audit
from services.api.application.audit_reads import AuditReads
from services.api.application.call import Call
from services.api.application.ports import Bus

_MAX_DIGITS = 16


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
        proof = await self._prove(call, name)
        await self.reads.note(call, "prove", name, begins=True)
        return proof

    async def _prove(self, call: Call, name: str) -> audit.Proof:
        stream, separator, sequence = name.partition(":")
        if not separator:
            return await self.bus.call(audit.PROVE, audit.Prove(org=call.org, event_id=name))
        if not (sequence.isascii() and sequence.isdigit()) or len(sequence) > _MAX_DIGITS:
            raise KtError("invalid_request", "The position is not of the form STREAM:SEQUENCE.")
        return await self.bus.call(audit.PROVE, audit.Prove(org=call.org, stream=stream, sequence=int(sequence)))

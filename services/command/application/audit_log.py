"""Commands on the audit log: how long it is kept, what is held back, what goes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from libs.common.events import Resource
from libs.common.events.audit_log import ReproducedTree, RetiredRange
from libs.common.names import checked_identity
from libs.common.protocol import command as protocol
from libs.common.protocol.command import Recorded
from services.command.application.aggregates import Aggregates
from services.command.domain.audit_log import (
    AUDIT_LOG,
    AddHold,
    ApplyRetention,
    AuditLogCommand,
    RecordRebuild,
    RemoveHold,
    SetRetention,
)

_Request = (
    protocol.SetRetention | protocol.AddHold | protocol.RemoveHold | protocol.ApplyRetention | protocol.RecordRebuild
)

LOG: Final = Resource("audit_log", "log")


@dataclass(frozen=True, slots=True)
class AuditLogs:
    aggregates: Aggregates

    async def set_retention(self, _subject: str, request: protocol.SetRetention) -> Recorded:
        return await self._carry_out(SetRetention(request.days, request.understood), request)

    async def add_hold(self, _subject: str, request: protocol.AddHold) -> Recorded:
        hold = checked_identity(request.hold)
        return await self._carry_out(AddHold(hold, request.begins, request.ends, request.reason), request)

    async def remove_hold(self, _subject: str, request: protocol.RemoveHold) -> Recorded:
        return await self._carry_out(RemoveHold(request.hold, request.reason), request)

    async def apply_retention(self, _subject: str, request: protocol.ApplyRetention) -> Recorded:
        ranges = tuple(RetiredRange(**retired.model_dump()) for retired in request.ranges)
        command = ApplyRetention(request.period, request.days, ranges, request.manifest_digest)
        return await self._carry_out(command, request)

    async def record_rebuild(self, _subject: str, request: protocol.RecordRebuild) -> Recorded:
        trees = tuple(ReproducedTree(**tree.model_dump()) for tree in request.trees)
        return await self._carry_out(RecordRebuild(request.requested_by, request.entries, trees), request)

    async def _carry_out(self, command: AuditLogCommand, request: _Request) -> Recorded:
        sequence = await self.aggregates.carry_out(AUDIT_LOG, command, LOG, request.caller, request.command_id)
        return Recorded(sequence=sequence)

"""How long the audit log is kept, and what is held back."""

from __future__ import annotations

from dataclasses import dataclass

from libs.common.calendar import Span
from libs.common.protocol import audit, command
from services.api.application.call import Call, Conditions
from services.api.application.ports import Bus


@dataclass(frozen=True, slots=True)
class Keeping:
    bus: Bus

    async def look(self, call: Call) -> audit.KeepingReply:
        return await self.bus.call(audit.KEEPING, audit.KeepingRequest(org=call.org))

    async def rebuild(self, call: Call, conditions: Conditions) -> audit.RebuildView:
        """Asks for it; what is under way already is the answer."""
        request = audit.StartRebuild(command_id=conditions.command_id, caller=call.caller())
        return await self.bus.call(audit.REBUILD, request)

    async def rebuild_status(self, call: Call) -> audit.RebuildView:
        """Raises: KtError ``not_found``."""
        return await self.bus.call(audit.REBUILD_STATUS, audit.GetRebuild(org=call.org))

    async def set_retention(self, call: Call, conditions: Conditions, days: int, *, understood: bool) -> None:
        """Raises: KtError ``invalid_request`` for less than a year that is not understood."""
        request = command.SetRetention(
            command_id=conditions.command_id, caller=call.caller(), days=days, understood=understood
        )
        await self.bus.call(command.AUDIT_RETENTION, request)

    async def add_hold(self, call: Call, conditions: Conditions, hold: str, span: Span, reason: str) -> None:
        """Raises: KtError ``already_exists`` or ``invalid_request``."""
        request = command.AddHold(
            command_id=conditions.command_id,
            caller=call.caller(),
            hold=hold,
            begins=span.begins,
            ends=span.ends,
            reason=reason,
        )
        await self.bus.call(command.AUDIT_ADD_HOLD, request)

    async def remove_hold(self, call: Call, conditions: Conditions, hold: str, reason: str) -> None:
        """Raises: KtError ``not_found``."""
        request = command.RemoveHold(command_id=conditions.command_id, caller=call.caller(), hold=hold, reason=reason)
        await self.bus.call(command.AUDIT_REMOVE_HOLD, request)

"""What is on record: the audit log; and the keys in use, which can be replaced."""

from __future__ import annotations

from dataclasses import dataclass

from libs.common.protocol import audit, keys
from services.api.application.audit_reads import AuditReads
from services.api.application.call import Call, Conditions
from services.api.application.ports import Bus


@dataclass(frozen=True, slots=True)
class Records:
    bus: Bus
    reads: AuditReads

    async def events(self, call: Call, text: str, limit: int, cursor: str, follow: bool) -> audit.EventPage:
        """
        Raises:
            KtError: ``invalid_filter`` or ``invalid_cursor``; ``unavailable`` also when the reading could not be put
                on record.
        """
        request = audit.ListEvents(org=call.org, filter=text, limit=limit, cursor=cursor, follow=follow)
        page = await self.bus.call(audit.LIST, request)
        await self.reads.note(call, "follow" if follow else "list", text, begins=not cursor)
        return page

    async def legacy_rows(self, call: Call) -> keys.LegacyStatusReply:
        return await self.bus.call(keys.LEGACY_STATUS, keys.LegacyStatusRequest(org=call.org))

    async def encryption_keys(self, call: Call) -> keys.KeysStatusReply:
        return await self.bus.call(keys.STATUS, keys.KeysStatusRequest(org=call.org))

    async def deep_rotate(self, call: Call, conditions: Conditions) -> keys.DeepRotationView:
        """Start a deep rotation of the org's keys, or find the one that runs."""
        request = keys.DeepRotateRequest(command_id=conditions.command_id, caller=call.caller())
        return await self.bus.call(keys.DEEP_ROTATE, request)

    async def deep_rotation(self, call: Call, rotation_id: str) -> keys.DeepRotationView:
        """Raises: KtError ``not_found``."""
        return await self.bus.call(keys.DEEP_ROTATION, keys.DeepRotationRequest(org=call.org, id=rotation_id))

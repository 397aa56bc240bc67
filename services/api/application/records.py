"""What is on record: the audit log, and the keys in use."""

from __future__ import annotations

from dataclasses import dataclass

from libs.common.protocol import audit, keys
from services.api.application.call import Call
from services.api.application.ports import Bus


@dataclass(frozen=True, slots=True)
class Records:
    bus: Bus

    async def events(self, call: Call, text: str, limit: int, cursor: str, follow: bool) -> audit.EventPage:
        """Raises: KtError ``invalid_filter`` or ``invalid_cursor``."""
        request = audit.ListEvents(org=call.org, filter=text, limit=limit, cursor=cursor, follow=follow)
        return await self.bus.call(audit.LIST, request)

    async def legacy_rows(self, call: Call) -> keys.LegacyStatusReply:
        return await self.bus.call(keys.LEGACY_STATUS, keys.LegacyStatusRequest(org=call.org))

    async def encryption_keys(self, call: Call) -> keys.KeysStatusReply:
        return await self.bus.call(keys.STATUS, keys.KeysStatusRequest(org=call.org))

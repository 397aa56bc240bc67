"""The command service over the bus: it alone writes events, and knows every hold."""

from __future__ import annotations

from collections.abc import Sequence

from libs.common.calendar import Month
from libs.common.ids import derived_id
from libs.common.messaging.rpc import RpcClient
from libs.common.protocol.command import AUDIT_APPLY_RETENTION, ApplyRetention, Retired
from libs.common.protocol.parties import Caller


class BusRetentionRecorder:
    def __init__(self, client: RpcClient) -> None:
        self._client = client

    async def record(
        self, org: str, month: Month, days: int, ranges: Sequence[Retired], manifest_digest: str
    ) -> None:
        command_id = derived_id("retention", org, str(month))
        request = ApplyRetention(
            command_id=command_id,
            caller=Caller(org=org, actor_type="service", actor_id="audit", request_id=command_id),
            period=str(month),
            days=days,
            ranges=tuple(ranges),
            manifest_digest=manifest_digest,
        )
        await self._client.call(AUDIT_APPLY_RETENTION, request)

"""The command service over the bus: it alone writes events."""

from __future__ import annotations

from collections.abc import Sequence

from libs.common.ids import derived_id
from libs.common.messaging.rpc import RpcClient
from libs.common.protocol.command import AUDIT_RECORD_REBUILD, RebuiltState, RecordRebuild
from libs.common.protocol.parties import Caller
from services.audit.domain.rebuild import Rebuild, RebuiltTree


class BusRebuildRecorder:
    def __init__(self, client: RpcClient) -> None:
        self._client = client

    async def record(self, rebuild: Rebuild, trees: Sequence[RebuiltTree]) -> None:
        command_id = derived_id("rebuilt", rebuild.id)
        request = RecordRebuild(
            command_id=command_id,
            caller=Caller(org=rebuild.org, actor_type="service", actor_id="audit", request_id=command_id),
            requested_by=rebuild.requested_by,
            entries=rebuild.replayed,
            trees=tuple(RebuiltState(stream=t.stream, size=t.size, root=t.root.hex()) for t in trees),
        )
        await self._client.call(AUDIT_RECORD_REBUILD, request)

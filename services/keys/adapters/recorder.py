"""The command service over the bus: it alone writes events."""

from __future__ import annotations

from libs.common.messaging.rpc import RpcClient
from libs.common.protocol.command import ENCRYPTION_KEY, RecordKeyRotation
from libs.common.protocol.parties import Caller
from services.keys.application.ports import RotationNotice


class BusRotationRecorder:
    def __init__(self, client: RpcClient) -> None:
        self._client = client

    async def record(self, notice: RotationNotice) -> None:
        request = RecordKeyRotation(
            command_id=notice.id,
            caller=Caller(org=notice.org, actor_type="service", actor_id="keys", request_id=notice.id),
            from_fingerprint=notice.from_fingerprint,
            to_fingerprint=notice.to_fingerprint,
            rewrapped=notice.rewrapped,
        )
        await self._client.call(ENCRYPTION_KEY, request)

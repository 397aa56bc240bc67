"""The key service over the bus."""

from __future__ import annotations

from libs.common.events.config_variable import SealedRef
from libs.common.messaging.connection import WITHIN_REQUEST_TIMEOUT_S
from libs.common.messaging.rpc import RpcClient
from libs.common.protocol.command import BoxedValue
from libs.common.protocol.keys import RESEAL, SEAL, ResealRequest, SealRequest


class BusSealer:
    def __init__(self, client: RpcClient) -> None:
        self._client = client

    async def seal(self, sealed_id: str, org: str, name: str, value: BoxedValue) -> SealedRef:
        request = SealRequest(
            sealed_id=sealed_id,
            org=org,
            kind="config_variable",
            name=name,
            key_id=value.key_id,
            box=value.box,
        )
        reply = await self._client.call(SEAL, request, timeout_s=WITHIN_REQUEST_TIMEOUT_S)
        return SealedRef(reply.id, reply.digest)

    async def reseal(self, sealed_id: str, org: str, name: str, source: SealedRef) -> SealedRef:
        request = ResealRequest(
            sealed_id=sealed_id,
            org=org,
            kind="config_variable",
            name=name,
            from_id=source.id,
            from_digest=source.digest,
        )
        reply = await self._client.call(RESEAL, request, timeout_s=WITHIN_REQUEST_TIMEOUT_S)
        return SealedRef(reply.id, reply.digest)

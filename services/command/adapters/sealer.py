"""The key service over the bus."""

from __future__ import annotations

from libs.common.events.secret import SealedRef
from libs.common.messaging.connection import WITHIN_REQUEST_TIMEOUT_S
from libs.common.messaging.rpc import RpcClient
from libs.common.protocol.command import BoxedValue
from libs.common.protocol.keys import RESEAL, SEAL, ResealRequest, SealRequest


class BusSealer:
    """Seals values of one kind of secret, which is bound into every one of them."""

    def __init__(self, client: RpcClient, kind: str) -> None:
        self._client = client
        self._kind = kind

    async def seal(self, sealed_id: str, org: str, name: str, value: BoxedValue) -> SealedRef:
        request = SealRequest(
            sealed_id=sealed_id,
            org=org,
            kind=self._kind,
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
            kind=self._kind,
            name=name,
            from_id=source.id,
            from_digest=source.digest,
        )
        reply = await self._client.call(RESEAL, request, timeout_s=WITHIN_REQUEST_TIMEOUT_S)
        return SealedRef(reply.id, reply.digest)

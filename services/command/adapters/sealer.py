"""The key service over the bus."""

from __future__ import annotations

from libs.common.events.secret import SealedRef
from libs.common.messaging.connection import WITHIN_REQUEST_TIMEOUT_S
from libs.common.messaging.rpc import RpcClient
from libs.common.protocol.command import BoxedValue
from libs.common.protocol.keys import RESEAL, SEAL, TAKE_OVER, ResealRequest, SealRequest, TakeOverRequest
from services.command.application.ports import SealedRow


class BusSealer:
    """Seals values of one kind of secret, which is bound into every one of them."""

    def __init__(self, client: RpcClient, kind: str) -> None:
        self._client = client
        self._kind = kind

    async def seal(self, sealed_id: str, org: str, name: str, value: BoxedValue, *, first: bool = False) -> SealedRef:
        request = SealRequest(
            sealed_id=sealed_id,
            org=org,
            kind=self._kind,
            name=name,
            key_id=value.key_id,
            box=value.box,
            first=first,
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

    async def take_over(self, sealed_id: str, org: str, name: str) -> SealedRow | None:
        request = TakeOverRequest(sealed_id=sealed_id, org=org, name=name)
        reply = await self._client.call(TAKE_OVER, request, timeout_s=WITHIN_REQUEST_TIMEOUT_S)
        if reply.sealed is None:
            return None
        return SealedRow(reply.description, reply.sensitive, SealedRef(reply.sealed.id, reply.sealed.digest))

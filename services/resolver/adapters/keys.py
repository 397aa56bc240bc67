"""The key service over the bus."""

from __future__ import annotations

from collections.abc import Sequence

from libs.common.messaging.connection import WITHIN_REQUEST_TIMEOUT_S
from libs.common.messaging.rpc import RpcClient
from libs.common.protocol.keys import (
    LEGACY_ROWS,
    OPEN,
    LegacyRowsReply,
    LegacyRowsRequest,
    OpenItem,
    OpenReply,
    OpenRequest,
)
from libs.common.references import split_reference
from services.resolver.domain.entitlement import Entitled


class BusKeyService:
    def __init__(self, client: RpcClient) -> None:
        self._client = client

    async def open(
        self,
        org: str,
        requester: str,
        recipient_key: bytes,
        entitled: Sequence[Entitled],
        legacy: Sequence[str] = (),
        *,
        reveal: bool = False,
    ) -> OpenReply:
        items = [
            OpenItem(reference=e.reference, id=e.sealed.id, digest=e.sealed.digest, kind=kind, name=name)
            for e in entitled
            for kind, name in (split_reference(e.reference),)
        ]
        request = OpenRequest(
            org=org,
            requester=requester,
            recipient_key=recipient_key,
            items=items,
            legacy=list(legacy),
            reveal=reveal,
        )
        return await self._client.call(OPEN, request, timeout_s=WITHIN_REQUEST_TIMEOUT_S)


class BusLegacyRows:
    def __init__(self, client: RpcClient) -> None:
        self._client = client

    async def named(self, org: str, names: Sequence[str]) -> LegacyRowsReply:
        return await self._ask(LegacyRowsRequest(org=org, names=list(names)))

    async def page(self, org: str, prefix: str, after: str, limit: int) -> LegacyRowsReply:
        return await self._ask(LegacyRowsRequest(org=org, prefix=prefix, after=after, limit=limit))

    async def _ask(self, request: LegacyRowsRequest) -> LegacyRowsReply:
        return await self._client.call(LEGACY_ROWS, request, timeout_s=WITHIN_REQUEST_TIMEOUT_S)

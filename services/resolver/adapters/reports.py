"""Gateway reports, read from the access stream; client keys, from the key service."""

from __future__ import annotations

from typing import Any

from nats.aio.client import Client

from libs.common.direct_get import DirectReader
from libs.common.events import RecordedEvent, decode
from libs.common.messaging.connection import WITHIN_REQUEST_TIMEOUT_S
from libs.common.messaging.rpc import RpcClient
from libs.common.protocol.keys import CLIENT_KEYS, ClientKeysRequest
from libs.common.subjects import ACCESS


class StreamReports:
    def __init__(self, nc: Client) -> None:
        self._reader = DirectReader(nc, ACCESS)

    async def last(self, subject: str) -> RecordedEvent | None:
        message = await self._reader.last(subject)
        return decode(message.body, message.sequence) if message else None


class BusClientKeys:
    def __init__(self, client: RpcClient) -> None:
        self._client = client

    async def client_jwks(self, org: str) -> dict[str, Any]:
        request = ClientKeysRequest(org=org)
        return (await self._client.call(CLIENT_KEYS, request, timeout_s=WITHIN_REQUEST_TIMEOUT_S)).jwks

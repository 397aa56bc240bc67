"""The key service over the bus: it signs what the log says of itself."""

from __future__ import annotations

from collections.abc import Sequence

from libs.common.messaging.connection import WITHIN_REQUEST_TIMEOUT_S
from libs.common.messaging.rpc import RpcClient
from libs.common.protocol.keys import (
    CHECKPOINT_KEYS,
    SIGN_CHECKPOINT,
    SIGN_EXPORT,
    CheckpointKeysReply,
    CheckpointKeysRequest,
    SignCheckpointReply,
    SignCheckpointRequest,
    SignExportReply,
    SignExportRequest,
)


class BusSigner:
    def __init__(self, client: RpcClient) -> None:
        self._client = client

    async def sign(
        self, stream: str, size: int, root: bytes, old_size: int, proof: Sequence[bytes]
    ) -> SignCheckpointReply:
        request = SignCheckpointRequest(
            stream=stream, size=size, root=root, old_size=old_size, consistency=list(proof)
        )
        return await self._client.call(SIGN_CHECKPOINT, request, timeout_s=WITHIN_REQUEST_TIMEOUT_S)

    async def sign_export(self, manifest_sha256: str) -> SignExportReply:
        request = SignExportRequest(manifest_sha256=manifest_sha256)
        return await self._client.call(SIGN_EXPORT, request, timeout_s=WITHIN_REQUEST_TIMEOUT_S)

    async def keys(self) -> CheckpointKeysReply:
        return await self._client.call(CHECKPOINT_KEYS, CheckpointKeysRequest(), timeout_s=WITHIN_REQUEST_TIMEOUT_S)

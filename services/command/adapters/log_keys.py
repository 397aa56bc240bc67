"""The keys that sign the audit log, asked of the key service."""

from __future__ import annotations

import asyncio
from typing import Final

from libs.common.errors import KtError
from libs.common.messaging.connection import WITHIN_REQUEST_TIMEOUT_S
from libs.common.messaging.rpc import RpcClient
from libs.common.protocol.keys import CHECKPOINT_KEYS, CheckpointKeysReply, CheckpointKeysRequest
from libs.common.transparency.note import VerifierKey
from libs.common.transparency.origin import ALL_ORGS, LogOrigin

REFRESH_S: Final = 600.0
AGAIN_S: Final = 10.0


class BusLogKeys:
    """Implements ``LogKeys``. The origin is part of each key, so a checkpoint of another log is not signed by it.

    They are remembered: the key service stops when the stream was cut off, which is when they are needed.
    """

    def __init__(self, client: RpcClient) -> None:
        self._client = client
        self._known: CheckpointKeysReply | None = None

    async def of(self, stream: str) -> list[VerifierKey]:
        """Raises: KtError ``unavailable`` when they were never learned."""
        try:
            known = await self._learn()
        except KtError:
            if self._known is None:
                raise
            known = self._known
        origin = str(LogOrigin(known.installation, ALL_ORGS, stream))
        return [VerifierKey(origin, key.public) for key in known.keys]

    async def keep(self) -> None:
        """Until cancelled."""
        while True:
            try:
                await self._learn()
            except KtError:
                await asyncio.sleep(AGAIN_S)
            else:
                await asyncio.sleep(REFRESH_S)

    async def _learn(self) -> CheckpointKeysReply:
        request = CheckpointKeysRequest()
        self._known = await self._client.call(CHECKPOINT_KEYS, request, timeout_s=WITHIN_REQUEST_TIMEOUT_S)
        return self._known

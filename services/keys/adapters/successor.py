"""The other instances of the key service, over the bus on which requests reach them."""

from __future__ import annotations

from typing import Final

from libs.common.errors import KtError
from libs.common.messaging.rpc import RpcClient
from libs.common.protocol.keys import PRESENT, PresentRequest

TIMEOUT_S: Final = 1.0


class BusSuccessor:
    def __init__(self, client: RpcClient) -> None:
        self._client = client

    async def is_there(self) -> bool:
        """Whether an instance answers that is not superseded; those that are decline, this one included."""
        try:
            await self._client.call(PRESENT, PresentRequest(), timeout_s=TIMEOUT_S)
        except KtError:
            return False
        return True

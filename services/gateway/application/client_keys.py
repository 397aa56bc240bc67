"""Keep the keys for client tokens up to date: a new signing key is known here before it is used."""

from __future__ import annotations

import asyncio
import logging
from typing import Final, Protocol

from libs.common.errors import KtError
from services.gateway.application.ports import DataPlane
from services.gateway.domain.client_auth import ClientTokens

log = logging.getLogger(__name__)

EVERY_S: Final = 60.0


class ClientTokenKeys(Protocol):
    async def client_tokens(self) -> ClientTokens:
        """Raises: KtError when they can't be asked for."""


async def follow_client_keys(source: ClientTokenKeys, data_plane: DataPlane, known: ClientTokens) -> None:
    """Until cancelled. While nobody answers, the keys known stay in force."""
    while True:
        await asyncio.sleep(EVERY_S)
        try:
            current = await source.client_tokens()
            if current != known:
                await data_plane.set_client_auth(current)
                known = current
                log.info("gateway.client_keys_replaced")
        except KtError as error:
            log.warning("gateway.client_keys_not_refreshed", extra={"code": error.code})

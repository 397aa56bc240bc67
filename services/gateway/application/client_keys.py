"""Keep up to date which client tokens are good: a new signing key is known here before it is used, and a revoked
token is refused as soon as that is told."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import Final, Protocol

from libs.common.errors import KtError
from services.gateway.application.ports import DataPlane
from services.gateway.domain.client_auth import ClientTokens

log = logging.getLogger(__name__)

EVERY_S: Final = 60.0
FIRST_RETRY_S: Final = 1.0


class ClientTokenKeys(Protocol):
    async def client_tokens(self) -> ClientTokens:
        """Raises: KtError when they can't be asked for."""

    async def token_revoked(self) -> None:
        """Returns when a token of the org was revoked, or may have been."""


async def follow_client_keys(source: ClientTokenKeys, data_plane: DataPlane, known: ClientTokens) -> None:
    """Until cancelled. While nobody answers, what is known stays in force."""
    retry_s = FIRST_RETRY_S
    failed = False
    while True:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(min(retry_s, EVERY_S) if failed else EVERY_S):
                await source.token_revoked()
        try:
            current = await source.client_tokens()
            if current != known:
                await data_plane.set_client_auth(current)
                known = current
                log.info("gateway.client_keys_replaced", extra={"revoked": len(current.revoked)})
        except KtError as error:
            log.warning("gateway.client_keys_not_refreshed", extra={"code": error.code})
            retry_s, failed = (min(retry_s * 2, EVERY_S) if failed else FIRST_RETRY_S), True
        else:
            failed = False

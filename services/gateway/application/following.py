"""Follow a repository: look at it from time to time, and at once when told to."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Final

from libs.common.errors import KtError
from services.gateway.application.gateway import Gateway
from services.gateway.application.repository_config import FINAL, RepositoryConfig
from services.gateway.domain.references import Reference, ReferenceKind

log = logging.getLogger(__name__)

MIN_GAP_S: Final = 1.0
"""Between two looks, however often somebody asks for one."""

RETRY_S: Final = 60.0
LONGEST_RETRY_S: Final = 900.0


class SourceFollower:
    """A new commit is applied by ``Gateway.reload``: as a whole, or refused and the old one kept. Also a
    :class:`ChangeListener`, for the access token.

    ``interval_s`` 0 means only when :meth:`look` is called. ``jitter`` gives numbers between 0 and 1; it spreads the
    looks of many gateways.
    """

    def __init__(
        self, gateway: Gateway, source: RepositoryConfig, interval_s: float, jitter: Callable[[], float]
    ) -> None:
        self._gateway = gateway
        self._source = source
        self._interval_s = interval_s
        self._jitter = jitter
        self._wanted = asyncio.Event()

    def look(self) -> None:
        """Look at the repository soon. Returns at once."""
        self._wanted.set()

    def changed(self, reference: Reference) -> None:
        """A new access token is tried at once: the old one may be on its way out."""
        if reference.kind is ReferenceKind.GIT_TOKEN:
            self.look()

    def missed(self) -> None:
        """The next look asks for the token again; that is soon enough."""

    async def run(self) -> None:
        """Until cancelled. Whatever fails, the configuration in force stays, and the next look comes."""
        failures = 0
        while True:
            await self._until_due(failures)
            self._wanted.clear()
            try:
                if await self._source.moved():
                    await self._gateway.reload()
                failures = 0
            except KtError as error:
                failures = 0 if error.code == FINAL else failures + 1
                log.warning("gateway.source_not_applied", extra={"code": error.code, "failures": failures})
            await asyncio.sleep(MIN_GAP_S)

    async def _until_due(self, failures: int) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._pause(failures)):
                await self._wanted.wait()

    def _pause(self, failures: int) -> float | None:
        """The interval, doubled with each failure up to a quarter of an hour, and a tenth more or less."""
        if not failures and not self._interval_s:
            return None
        usual = self._interval_s or RETRY_S
        pause: float = min(usual * 2**failures, max(usual, LONGEST_RETRY_S))
        return pause * (0.9 + self._jitter() / 5)

"""Which tokens are revoked: asked of the resolver several times a second, and known before anybody is let in."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from libs.common.auth.refusal import Reason, refused
from libs.common.auth.tokens import Principal
from libs.common.clock import Clock
from libs.common.errors import KtError
from libs.common.protocol.tokens import REVOCATIONS, ListRevocations
from services.api.application.ports import Bus

log = logging.getLogger(__name__)

EVERY_S: Final = 0.25
TIMEOUT_S: Final = 1.0
MAX_AGE_S: Final = 10.0
"""A list that could not be refreshed for this long is not believed any more, and then nobody is let in. Restarting
the resolver or its database takes less."""

PRUNE_EVERY: Final = 2400


class Revocations:
    """``elapsed`` is a monotonic clock in seconds. :meth:`follow` has to run."""

    def __init__(self, bus: Bus, clock: Clock, elapsed: Callable[[], float]) -> None:
        self._bus = bus
        self._clock = clock
        self._elapsed = elapsed
        self._revoked: dict[tuple[str, str], int] = {}
        self._position = 0
        self._fresh_at: float | None = None

    @property
    def known(self) -> bool:
        """Whether the list is believed at this moment."""
        return self._fresh_at is not None and self._elapsed() - self._fresh_at <= MAX_AGE_S

    def check(self, principal: Principal) -> None:
        """
        Raises:
            RefusedToken: ``unauthenticated`` when the token was revoked.
            KtError: ``unavailable`` while that can't be told.
        """
        if (principal.org, principal.token_id) in self._revoked:
            raise refused(Reason.REVOKED, "The token was revoked.", principal)
        if not self.known:
            raise KtError(
                "unavailable",
                "Which tokens are revoked can't be told at the moment, so nobody is let in.",
                "Try again in a few seconds; `kt status` shows what runs.",
            )

    def add(self, org: str, token_id: str, expires_at: int) -> None:
        """One that was revoked just now; ``expires_at`` is 0 when it is not known."""
        self._revoked[org, token_id] = expires_at

    async def follow(self) -> None:
        """Until cancelled."""
        rounds, failing = 0, False
        while True:
            try:
                await self._refresh()
            except KtError as error:
                if not failing:
                    log.warning("revocations.not_refreshed", extra={"code": error.code, "detail": error.detail})
                failing = True
            else:
                if failing:
                    log.info("revocations.refreshed_again")
                failing = False
            rounds += 1
            if rounds % PRUNE_EVERY == 0:
                self._prune()
            await asyncio.sleep(EVERY_S)

    async def _refresh(self) -> None:
        asked_at, more = self._elapsed(), True
        while more:
            request = ListRevocations(after=self._position)
            found = await self._bus.call(REVOCATIONS, request, timeout_s=TIMEOUT_S)
            self._revoked.update({(item.org, item.token_id): item.expires_at for item in found.items})
            self._position, more = found.position, found.more
        self._fresh_at = asked_at

    def _prune(self) -> None:
        now = self._clock.now().timestamp()
        for key in [key for key, expires_at in self._revoked.items() if 0 < expires_at <= now]:
            del self._revoked[key]

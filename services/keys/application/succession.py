"""Instances of different master keys side by side: who is superseded leaves the work to those who are not."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from libs.common.errors import KtError
from libs.common.messaging.rpc import Declined
from services.keys.application.keyring import Keyring
from services.keys.application.ports import KeyringStore

log = logging.getLogger(__name__)

LOOK_EVERY_S: Final = 1.0


class Succession:
    """Keeps an instance's keyring fresh, and has it decline all work while a successor takes it.

    Without a successor a superseded instance does what it can with the keys it has: a rollout whose first new
    instance dies must not end the service. ``successor`` asks whether there is one; ``decline`` is told what to
    answer to every request, None to answer them all as usual.
    """

    def __init__(
        self,
        keyring: Keyring,
        store: KeyringStore,
        successor: Callable[[], Awaitable[bool]],
        decline: Callable[[Declined | None], None],
    ) -> None:
        self._keyring = keyring
        self._store = store
        self._successor = successor
        self._decline = decline
        self._revision = ""
        self._declining = False

    async def run(self, every_s: float = LOOK_EVERY_S) -> None:
        """Look until cancelled."""
        while True:
            try:
                await self.look()
            except KtError as error:
                log.info("keyring.not_looked_at", extra={"code": error.code})
            await asyncio.sleep(every_s)

    async def look(self) -> None:
        revision = await self._store.revision()
        if revision != self._revision:
            await self._keyring.reload()
            self._revision = revision
        refusal = self._keyring.superseded
        declining = refusal is not None and await self._successor()
        if declining != self._declining:
            log.warning("keys.declines_work" if declining else "keys.takes_work", extra={"superseded": bool(refusal)})
            self._declining = declining
        self._decline(refusal if declining else None)

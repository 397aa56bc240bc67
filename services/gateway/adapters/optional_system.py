"""The system, reached when the first config variable is referred to, and never before."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Protocol

from libs.common.errors import KtError
from services.gateway.application.access_log import AccessSink, Batch
from services.gateway.application.ports import ChangeFeed, KeySource, Report, Reporter
from services.gateway.domain.client_auth import ClientTokens
from services.gateway.domain.references import Purpose, Reference, Resolution


class LinkedSystem(KeySource, ChangeFeed, Reporter, AccessSink, Protocol):
    """A system that can be reached."""

    async def client_tokens(self) -> ClientTokens:
        """Raises: KtError."""

    async def token_revoked(self) -> None:
        """Returns when a token of the org was revoked, or may have been."""

    async def run(self) -> None:
        """Background work, until cancelled."""

    async def close(self) -> None:
        """End the connection."""


class OptionalSystem:
    """Without references to secrets of the system it does nothing, and needs neither URL nor token.

    ``background`` takes over the linked system's work; ``always`` is watched whatever else is.
    """

    def __init__(
        self,
        link: Callable[[], LinkedSystem],
        background: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]],
        always: Sequence[Reference] = (),
    ) -> None:
        self._link = link
        self._background = background
        self._always = tuple(always)
        self._system: LinkedSystem | None = None

    def linked(self) -> LinkedSystem:
        """Raises: KtError ``misconfigured`` when nobody said where the system is."""
        if self._system is None:
            self._system = self._link()
            self._background(self._system.run())
        return self._system

    @property
    def known(self) -> bool:
        """Has anything needed the system yet?"""
        return self._system is not None

    async def resolve(self, references: Sequence[Reference], purpose: Purpose) -> Sequence[Resolution]:
        return await self.linked().resolve(references, purpose)

    async def watch(self, references: Sequence[Reference]) -> None:
        wanted = (*references, *self._always)
        if wanted or self._system is not None:
            await self.linked().watch(wanted)

    def report(self, report: Report) -> None:
        if self._system is not None:
            self._system.report(report)

    async def record_access(self, batch: Batch) -> int:
        return await self.linked().record_access(batch)

    async def close(self) -> None:
        if self._system is not None:
            await self._system.close()


def needs_system() -> KtError:
    return KtError(
        "misconfigured",
        "The gateway needs secrets of a system (secret_key_ref with store, or --git-token), and no system is known.",
        "Set KEEPTRUSTS_API_URL and KEEPTRUSTS_TOKEN, run beside a system's home, or use secret_key_ref with env.",
    )

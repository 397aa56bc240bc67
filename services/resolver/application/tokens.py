"""Tokens as they are now: for lists, and for those who have to refuse the revoked ones."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from libs.common.clock import Clock
from libs.common.errors import KtError
from libs.common.protocol.tokens import ListRevocations, ListTokens, RevocationList, TokenList, TokenView

LIST_TIMEOUT_S: Final = 3.0
CLOCK_SKEW_S: Final = 60
"""Gateways accept a client token for up to half a minute beyond its expiry, by clocks of their own."""

REVOCATIONS_TIMEOUT_S: Final = 0.8
"""Less than who asks waits: it asks several times a second, and tries again."""


class TokenLists(Protocol):
    async def page(self, query: ListTokens, limit: int, now: int) -> list[TokenView]: ...

    async def revocations(self, after: int, now: int) -> RevocationList: ...

    async def revoked_clients(self, org: str, now: int) -> Sequence[str]: ...


@dataclass(frozen=True, slots=True)
class Tokens:
    """``caught_up`` returns True once the lists show everything stored before it was called."""

    lists: TokenLists
    caught_up: Callable[[float], Awaitable[bool]]
    clock: Clock

    async def list(self, _subject: str, request: ListTokens) -> TokenList:
        await self._catch_up(LIST_TIMEOUT_S)
        items = await self.lists.page(request, request.limit + 1, self._now())
        return TokenList(items=items[: request.limit], more=len(items) > request.limit)

    async def revocations(self, _subject: str, request: ListRevocations) -> RevocationList:
        await self._catch_up(REVOCATIONS_TIMEOUT_S)
        return await self.lists.revocations(request.after, self._now())

    async def revoked_clients(self, org: str) -> Sequence[str]:
        """Ids of client tokens that were revoked and have not expired. Raises: KtError ``unavailable``."""
        await self._catch_up(LIST_TIMEOUT_S)
        return await self.lists.revoked_clients(org, self._now() - CLOCK_SKEW_S)

    def _now(self) -> int:
        return int(self.clock.now().timestamp())

    async def _catch_up(self, timeout_s: float) -> None:
        if not await self.caught_up(timeout_s):
            raise KtError(
                "unavailable", "The list of tokens has not caught up with the event stream.", "Try again in a moment."
            )

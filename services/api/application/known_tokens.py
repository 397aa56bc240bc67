"""The tokens that are known: listed, and revoked by id or by name."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final

from libs.common.errors import KtError
from libs.common.ids import IdFactory
from libs.common.messaging.rpc import Unanswered
from libs.common.names import plain_token_id
from libs.common.protocol.tokens import LIST_TOKENS, REVOKE_TOKEN, ListTokens, RevokeToken, TokenState, TokenView
from services.api.application.call import Call
from services.api.application.ports import Bus
from services.api.application.revocations import Revocations
from services.api.domain.cursor import decode_cursor, encode_cursor, invalid_cursor

MAX_AT_ONCE: Final = 200
"""Tokens of one name that one request revokes."""

CONCURRENT: Final = 16


@dataclass(frozen=True, slots=True)
class TokenQuery:
    """Which tokens; an empty condition is none."""

    name: str = ""
    role: str = ""
    key_id: str = ""
    state: TokenState | None = None

    @property
    def scope(self) -> str:
        """What a cursor is bound to."""
        return "\0".join((self.name, self.role, self.key_id, self.state or ""))


@dataclass(frozen=True, slots=True)
class TokenPage:
    items: list[TokenView]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class Revoked:
    """``role`` and ``name`` are empty for a token not issued here; ``repeated``: it had been revoked before."""

    token_id: str
    role: str
    name: str
    repeated: bool


@dataclass(frozen=True, slots=True)
class KnownTokens:
    bus: Bus
    ids: IdFactory
    revocations: Revocations

    async def page(self, call: Call, query: TokenQuery, cursor: str, limit: int) -> TokenPage:
        """Newest first. Raises: KtError ``invalid_cursor`` for a cursor of another list."""
        after = decode_cursor(call.org, "token", query.scope, cursor)
        if not (after or "0").isdigit():
            raise invalid_cursor()
        request = ListTokens(
            org=call.org,
            name=query.name,
            role=query.role,
            key_id=query.key_id,
            state=query.state or "",
            before=int(after or "0"),
            limit=limit,
        )
        found = await self.bus.call(LIST_TOKENS, request)
        if not found.more:
            return TokenPage(found.items, None)
        last = str(found.items[-1].sequence)
        return TokenPage(found.items, encode_cursor(call.org, "token", query.scope, last))

    async def revoke(self, call: Call, token_id: str) -> Revoked:
        """From the moment this returns the token is refused here, and everywhere else within a second.

        Raises:
            KtError: ``outcome_unknown`` when no answer came in time; repeating it is harmless.
        """
        plain = plain_token_id(token_id)
        request = RevokeToken(command_id=self.ids.new(), caller=call.caller(), token_id=plain)
        try:
            done = await self.bus.call(REVOKE_TOKEN, request)
        except Unanswered:
            raise KtError(
                "outcome_unknown",
                "The revocation was sent and no answer came in time; it may have been carried out.",
                "Repeat the request: revoking a token twice changes nothing.",
            ) from None
        self.revocations.add(call.org, plain, done.expires_at)
        return Revoked(plain, done.role, done.name, done.repeated)

    async def revoke_named(self, call: Call, name: str) -> tuple[list[Revoked], bool]:
        """Revoke the active tokens of a name, 200 at most; True when there are more.

        Raises:
            KtError: ``not_found`` when there never was one.
        """
        request = ListTokens(org=call.org, name=name, state="active", limit=MAX_AT_ONCE)
        found = await self.bus.call(LIST_TOKENS, request)
        if not found.items:
            await self._check_known(call, name)
        slots = asyncio.Semaphore(CONCURRENT)

        async def revoke(token: TokenView) -> Revoked:
            async with slots:
                return await self.revoke(call, token.id)

        return list(await asyncio.gather(*map(revoke, found.items))), found.more

    async def _check_known(self, call: Call, name: str) -> None:
        any_of_it = await self.bus.call(LIST_TOKENS, ListTokens(org=call.org, name=name, limit=1))
        if not any_of_it.items:
            raise KtError(
                "not_found",
                "No token of this name was issued here; nothing was revoked.",
                "`kt token list` shows those there are. One that was signed elsewhere is revoked by its id (jti).",
            )

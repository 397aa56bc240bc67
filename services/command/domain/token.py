"""The access token as the log knows it: issued once, revoked once; one signed elsewhere only by its revocation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import assert_never

from libs.common.decider import Decider
from libs.common.events.token import TokenIssued, TokenRevoked


@dataclass(frozen=True, slots=True)
class Issue:
    role: str
    name: str
    expires_at: int
    key_id: str
    references: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Revoke:
    pass


TokenCommand = Issue | Revoke
TokenEvent = TokenIssued | TokenRevoked


@dataclass(frozen=True, slots=True)
class Token:
    """``role`` and ``name`` are empty and ``expires_at`` is 0 while nothing is known of its issue."""

    role: str = ""
    name: str = ""
    expires_at: int = 0
    issued: bool = False
    revoked: bool = False


def decide(command: TokenCommand, state: Token) -> Sequence[TokenEvent]:
    match command:
        case Issue(role, name, expires_at, key_id, references):
            if state.issued or state.revoked:
                return []
            return [TokenIssued(role, name, expires_at, key_id, references)]
        case Revoke():
            return [] if state.revoked else [TokenRevoked(state.role, state.name, state.expires_at)]
        case other:
            assert_never(other)


def evolve(state: Token, event: TokenEvent) -> Token:
    match event:
        case TokenIssued():
            return replace(state, role=event.role, name=event.name, expires_at=event.expires_at, issued=True)
        case TokenRevoked():
            return replace(state, revoked=True)
        case other:
            assert_never(other)


TOKEN: Decider[TokenCommand, Token, TokenEvent] = Decider(Token(), decide, evolve)

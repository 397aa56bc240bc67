"""The access token as the log knows it: issued once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from libs.common.decider import Decider
from libs.common.events.token import TokenIssued


@dataclass(frozen=True, slots=True)
class Issue:
    role: str
    name: str
    expires_at: int
    key_id: str
    references: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Token:
    issued: bool = False


def decide(command: Issue, state: Token) -> Sequence[TokenIssued]:
    if state.issued:
        return []
    return [TokenIssued(command.role, command.name, command.expires_at, command.key_id, command.references)]


def evolve(_: Token, __: TokenIssued) -> Token:
    return Token(issued=True)


TOKEN: Decider[Issue, Token, TokenIssued] = Decider(Token(), decide, evolve)

"""Access tokens on the bus: which were issued, which are revoked, and the one way to revoke one."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from libs.common.messaging.rpc import Endpoint, Message
from libs.common.protocol.parties import Caller

MAX_REVOCATIONS = 2000
"""Revocations in one answer."""

TokenState = Literal["active", "expired", "revoked"]


class RevokeToken(Message):
    """Revoke a token of the caller's org for good, also one that was signed elsewhere with a key of the system."""

    command_id: str
    caller: Caller
    token_id: str


class TokenRevocation(Message):
    """What came of it. ``role`` and ``name`` are empty and ``expires_at`` is 0 for a token not issued here."""

    sequence: int
    role: str
    name: str
    expires_at: int
    repeated: bool


class ListTokens(Message):
    """Tokens that came before the sequence ``before`` (0: the newest), newest first. Empty conditions are none.

    Shows every change acknowledged before the request.
    """

    org: str
    name: str = ""
    role: str = ""
    key_id: str = ""
    state: TokenState | Literal[""] = ""
    before: int = Field(default=0, ge=0)
    limit: int = Field(default=50, ge=1, le=500)


class TokenView(Message):
    """One token; never the token itself. ``expires_at`` in Unix seconds. What is not known of it is empty or 0."""

    id: str
    sequence: int
    role: str
    name: str
    key_id: str
    references: list[str]
    state: TokenState
    issued_at: str
    issued_by_type: str
    issued_by_id: str
    expires_at: int
    revoked_at: str
    revoked_by_type: str
    revoked_by_id: str


class TokenList(Message):
    items: list[TokenView]
    more: bool


class ListRevocations(Message):
    """Revocations of all orgs behind the sequence ``after``."""

    after: int = Field(ge=0)


class Revocation(Message):
    """``expires_at`` in Unix seconds, 0 when it is not known."""

    org: str
    token_id: str
    expires_at: int


class RevocationList(Message):
    """``position`` is the ``after`` of the next request. Tokens that have expired are left out.

    Shows every revocation acknowledged before the request, or with ``more`` a part of them.
    """

    items: list[Revocation]
    position: int
    more: bool


REVOKE_TOKEN = Endpoint("kt.cmd.v1.revoke_token", "command", RevokeToken, TokenRevocation, "Revoke a token")
LIST_TOKENS = Endpoint("kt.resolver.v1.tokens", "resolver", ListTokens, TokenList, "A page of tokens")
REVOCATIONS = Endpoint(
    "kt.resolver.v1.revocations", "resolver", ListRevocations, RevocationList, "Which tokens are revoked"
)

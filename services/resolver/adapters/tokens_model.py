"""Tokens: a projection of their events into PostgreSQL, and the queries on it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, Final

from libs.common.auth.scopes import CLIENT_ROLE
from libs.common.direct_get import StoredMessage
from libs.common.event_store import read_event
from libs.common.events import MalformedEvent, RecordedEvent, UnknownEventType
from libs.common.events.token import TokenIssued, TokenRevoked
from libs.common.postgres import Connection, Pool, answering
from libs.common.protocol.tokens import MAX_REVOCATIONS, ListTokens, Revocation, RevocationList, TokenView
from libs.common.subjects import ALL_EVENTS, EVENTS, aggregate_of, parse_event_subject

log = logging.getLogger(__name__)

AGGREGATE: Final = "token"

_ISSUED: Final = """
INSERT INTO tokens
  (org, id, sequence, role, name, key_id, allowed, issued_at, issued_by_type, issued_by_id, expires_at)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT (org, id) DO NOTHING
"""
_REVOKED: Final = """
INSERT INTO tokens
  (org, id, sequence, role, name, key_id, allowed, issued_at, issued_by_type, issued_by_id, expires_at,
   revoked_sequence, revoked_at, revoked_by_type, revoked_by_id)
VALUES (%s, %s, %s, '', '', '', '{}', '', '', '', 0, %s, %s, %s, %s)
ON CONFLICT (org, id) DO UPDATE SET (revoked_sequence, revoked_at, revoked_by_type, revoked_by_id)
  = (excluded.revoked_sequence, excluded.revoked_at, excluded.revoked_by_type, excluded.revoked_by_id)
  WHERE tokens.revoked_sequence IS NULL
"""
_PAGE: Final = """
SELECT id, sequence, role, name, key_id, allowed, issued_at, issued_by_type, issued_by_id, expires_at,
  revoked_at, revoked_by_type, revoked_by_id,
  CASE WHEN revoked_sequence IS NOT NULL THEN 'revoked' WHEN expires_at <= %(now)s THEN 'expired' ELSE 'active' END
FROM tokens WHERE org = %(org)s AND (%(before)s = 0 OR sequence < %(before)s)
  AND (%(name)s = '' OR name = %(name)s) AND (%(role)s = '' OR role = %(role)s)
  AND (%(key_id)s = '' OR key_id = %(key_id)s)
  AND (%(state)s = '' OR %(state)s =
    CASE WHEN revoked_sequence IS NOT NULL THEN 'revoked' WHEN expires_at <= %(now)s THEN 'expired' ELSE 'active' END)
ORDER BY sequence DESC LIMIT %(limit)s
"""
_LAST_REVOKED: Final = "SELECT coalesce(max(revoked_sequence), 0) FROM tokens"
_REVOCATIONS: Final = """
SELECT org, id, expires_at, revoked_sequence FROM tokens
WHERE revoked_sequence > %s AND revoked_sequence <= %s AND (expires_at = 0 OR expires_at > %s)
ORDER BY revoked_sequence LIMIT %s
"""
_REVOKED_CLIENTS: Final = """
SELECT id FROM tokens WHERE org = %s AND role = %s AND revoked_sequence IS NOT NULL AND expires_at > %s
ORDER BY revoked_sequence DESC LIMIT %s
"""
MAX_REVOKED_CLIENTS: Final = 10_000
"""What fits into one answer, and what a gateway can look through on every request."""

_DATABASE: Final = "The resolver's database"


class TokensProjection:
    """Every token that was issued or revoked."""

    name = "resolver.tokens"
    stream = EVENTS
    subject = ALL_EVENTS

    async def apply(self, connection: Connection, messages: Sequence[StoredMessage]) -> None:
        async with connection.pipeline():
            for message in messages:
                if aggregate_of(message.subject) == AGGREGATE:
                    statement = _statement(message)
                    if statement is not None:
                        await connection.execute(*statement)


def _statement(message: StoredMessage) -> tuple[str, tuple[Any, ...]] | None:
    try:
        recorded = read_event(message)
    except MalformedEvent as error:
        return _unreadable(message, repr(error))
    except UnknownEventType as error:
        if str(error).startswith("kt.token.revoked."):
            return _unreadable(message, repr(error))
        log.warning("tokens.skipped", extra={"sequence": message.sequence, "why": repr(error)})
        return None
    return _change(recorded)


def _change(recorded: RecordedEvent) -> tuple[str, tuple[Any, ...]] | None:
    event, metadata = recorded.event, recorded.metadata
    key, who = (metadata.org, recorded.resource.id, recorded.sequence), (metadata.actor.type, metadata.actor.id)
    match event:
        case TokenIssued(role, name, expires_at, key_id, references):
            return _ISSUED, (*key, role, name, key_id, list(references), metadata.time, *who, expires_at)
        case TokenRevoked():
            return _REVOKED, (*key, recorded.sequence, metadata.time, *who)
    return None


def _unreadable(message: StoredMessage, why: str) -> tuple[str, tuple[Any, ...]]:
    """It may have been a revocation, so it counts as one."""
    log.error("tokens.unreadable", extra={"sequence": message.sequence, "why": why})
    org, _, token_id = parse_event_subject(message.subject)
    return _REVOKED, (org, token_id, message.sequence, message.sequence, "", "", "")


class TokenReads:
    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def page(self, query: ListTokens, limit: int, now: int) -> list[TokenView]:
        """Up to ``limit`` tokens, in their state at ``now`` (Unix seconds)."""
        wanted = {**query.model_dump(), "limit": limit, "now": now}
        with answering(_DATABASE):
            async with self._pool.connection() as connection:
                rows = await (await connection.execute(_PAGE, wanted)).fetchall()
        return [_view(row) for row in rows]

    async def revocations(self, after: int, now: int) -> RevocationList:
        """Those behind ``after``, of tokens that have not expired at ``now``."""
        with answering(_DATABASE):
            async with self._pool.connection() as connection:
                # The end first: what is revoked between the two queries belongs to the next answer.
                ((last,),) = await (await connection.execute(_LAST_REVOKED)).fetchall()
                wanted = (after, last, now, MAX_REVOCATIONS + 1)
                rows = await (await connection.execute(_REVOCATIONS, wanted)).fetchall() if last > after else []
        shown, more = rows[:MAX_REVOCATIONS], len(rows) > MAX_REVOCATIONS
        return RevocationList(
            items=[Revocation(org=org, token_id=token, expires_at=expires) for org, token, expires, _ in shown],
            position=shown[-1][3] if more else max(last, after),
            more=more,
        )

    async def revoked_clients(self, org: str, now: int) -> list[str]:
        """Client tokens that have not expired at ``now``, the last revoked first."""
        with answering(_DATABASE):
            async with self._pool.connection() as connection:
                wanted = (org, CLIENT_ROLE, now, MAX_REVOKED_CLIENTS)
                return [token for (token,) in await (await connection.execute(_REVOKED_CLIENTS, wanted)).fetchall()]


def _view(row: Sequence[Any]) -> TokenView:
    return TokenView(
        id=row[0],
        sequence=row[1],
        role=row[2],
        name=row[3],
        key_id=row[4],
        references=row[5],
        issued_at=row[6],
        issued_by_type=row[7],
        issued_by_id=row[8],
        expires_at=row[9],
        revoked_at=row[10],
        revoked_by_type=row[11],
        revoked_by_id=row[12],
        state=row[13],
    )

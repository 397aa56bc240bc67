"""The lists: a projection of the event stream into PostgreSQL, and the queries on it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, Final

from libs.common.direct_get import StoredMessage
from libs.common.event_store import read_event
from libs.common.events import MalformedEvent, RecordedEvent, UnknownEventType
from libs.common.events.gateway import GatewayEnrolled
from libs.common.events.secret import (
    SecretCreated,
    SecretDeleted,
    SecretRolledBack,
    SecretRotated,
    SecretUpdated,
    SecretVersionDestroyed,
)
from libs.common.postgres import Connection, Pool, answering
from libs.common.protocol.resolver import SecretView
from libs.common.subjects import ALL_EVENTS, EVENTS

log = logging.getLogger(__name__)

_CREATED: Final = """
INSERT INTO secrets (org, kind, name, description, sensitive, version, sequence, created_at, updated_at)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (org, kind, name) DO UPDATE SET (description, sensitive, version, sequence, created_at, updated_at)
  = (excluded.description, excluded.sensitive, excluded.version, excluded.sequence, excluded.created_at,
     excluded.updated_at)
"""
_UPDATED: Final = """
UPDATE secrets SET description = %s, sensitive = %s, sequence = %s, updated_at = %s
WHERE org = %s AND kind = %s AND name = %s
"""
_NEW_VERSION: Final = """
UPDATE secrets SET version = %s, sequence = %s, updated_at = %s WHERE org = %s AND kind = %s AND name = %s
"""
_TOUCHED: Final = "UPDATE secrets SET sequence = %s, updated_at = %s WHERE org = %s AND kind = %s AND name = %s"
_DELETED: Final = "DELETE FROM secrets WHERE org = %s AND kind = %s AND name = %s"
_ENROLLED: Final = """
INSERT INTO gateways (org, name, allowed, enrolled_at) VALUES (%s, %s, %s, %s)
ON CONFLICT (org, name) DO UPDATE SET allowed = excluded.allowed
"""
_PAGE: Final = """
SELECT name, description, sensitive, version, sequence, created_at, updated_at FROM secrets
WHERE org = %s AND kind = %s AND name > %s AND name >= %s AND name < %s ORDER BY name LIMIT %s
"""
_GATEWAYS: Final = "SELECT name, allowed FROM gateways WHERE org = %s ORDER BY name"

_DATABASE: Final = "The resolver's database"
_BEYOND_NAMES: Final = "\x7f"
"""Sorts behind every character a name may hold."""


class SecretsProjection:
    """Secrets and gateways as they are now, for lists."""

    name = "resolver.current"
    stream = EVENTS
    subject = ALL_EVENTS

    async def apply(self, connection: Connection, messages: Sequence[StoredMessage]) -> None:
        async with connection.pipeline():
            for message in messages:
                try:
                    recorded = read_event(message)
                except (MalformedEvent, UnknownEventType) as error:
                    log.warning("read_model.skipped", extra={"sequence": message.sequence, "why": repr(error)})
                    continue
                statement = _statement(recorded)
                if statement is not None:
                    await connection.execute(*statement)


def _statement(recorded: RecordedEvent) -> tuple[str, tuple[Any, ...]] | None:
    event, org, resource = recorded.event, recorded.metadata.org, recorded.resource
    key = (org, resource.type, resource.id)
    sequence, time = recorded.sequence, recorded.metadata.time
    statement: tuple[str, tuple[Any, ...]] | None = None
    match event:
        case SecretCreated():
            statement = _CREATED, (*key, event.description, event.sensitive, event.version, sequence, time, time)
        case SecretUpdated():
            statement = _UPDATED, (event.description, event.sensitive, sequence, time, *key)
        case SecretRotated() | SecretRolledBack():
            statement = _NEW_VERSION, (event.version, sequence, time, *key)
        case SecretDeleted():
            statement = _DELETED, key
        case SecretVersionDestroyed():
            statement = _TOUCHED, (sequence, time, *key)
        case GatewayEnrolled():
            statement = _ENROLLED, (org, resource.id, list(event.references), time)
    return statement


class ReadModel:
    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def page(self, org: str, kind: str, prefix: str, after: str, limit: int) -> list[SecretView]:
        """Up to ``limit`` secrets of a kind whose names begin with ``prefix`` and sort behind ``after``."""
        with answering(_DATABASE):
            async with self._pool.connection() as connection:
                cursor = await connection.execute(_PAGE, (org, kind, after, prefix, prefix + _BEYOND_NAMES, limit))
                rows = await cursor.fetchall()
        return [
            SecretView(
                name=name,
                description=description,
                sensitive=sensitive,
                version=version,
                sequence=sequence,
                created_at=created_at,
                updated_at=updated_at,
            )
            for name, description, sensitive, version, sequence, created_at, updated_at in rows
        ]

    async def gateways(self, org: str) -> list[tuple[str, list[str]]]:
        """Names and allowed globs of the gateways of an org."""
        with answering(_DATABASE):
            async with self._pool.connection() as connection:
                cursor = await connection.execute(_GATEWAYS, (org,))
                return [(name, allowed) for name, allowed in await cursor.fetchall()]

"""Between rows and what the use cases work with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Final
from uuid import UUID

from psycopg.types.json import Jsonb

from libs.common.clock import rfc3339
from libs.common.protocol.webhooks import DeliveryView
from services.webhooks.application.ports import Claimed, Outcome, Position
from services.webhooks.domain.subscription import SigningSecret, Subscription

DATABASE: Final = "The webhooks service's database"


def subscription_of(row: Sequence[Any]) -> Subscription:
    (
        webhook,
        org,
        url,
        types,
        description,
        enabled,
        reason,
        secrets,
        created,
        sequence,
        created_at,
        updated_at,
        gone,
    ) = row
    return Subscription(
        id=webhook,
        org=org,
        url=url,
        event_types=tuple(types),
        description=description,
        enabled=enabled,
        disabled_reason=reason,
        secrets=secrets_of(secrets),
        created_sequence=created,
        sequence=sequence,
        created_at=created_at,
        updated_at=updated_at,
        deleted=gone,
    )


def columns_of(subscription: Subscription) -> dict[str, Any]:
    columns = asdict(subscription)
    columns["event_types"] = list(subscription.event_types)
    columns["secrets"] = Jsonb([asdict(secret) for secret in subscription.secrets])
    columns["retire_at"] = subscription.retire_at or None
    return columns


def secrets_of(document: Sequence[dict[str, str]]) -> tuple[SigningSecret, ...]:
    return tuple(SigningSecret(**secret) for secret in document)


def claimed_of(row: Sequence[Any]) -> Claimed:
    delivery, webhook, org, event_id, stream, sequence, attempts, claim, url, secrets = row
    position = Position(stream, sequence)
    return Claimed(str(delivery), webhook, org, event_id, position, attempts, claim, url, secrets_of(secrets))


def view_of(row: Sequence[Any]) -> tuple[int, DeliveryView]:
    number, delivery, event_id, event_type, status, attempts, answered, reason, created_at, due_at, finished_at = row
    view = DeliveryView(
        id=str(delivery),
        event_id=event_id,
        event_type=event_type,
        status=status,
        attempts=attempts,
        answered=answered,
        reason=reason,
        created_at=rfc3339(created_at),
        next_attempt_at=rfc3339(due_at) if status == "pending" else "",
        finished_at=rfc3339(finished_at) if finished_at else "",
    )
    return number, view


def outcome_of(row: Sequence[Any]) -> Outcome:
    outcome_id, delivery, event_id, event_type, status, attempts, answered, reason, finished_at = row
    delivered = status == "delivered"
    return Outcome(
        str(outcome_id), str(delivery), event_id, event_type, delivered, attempts, answered, reason, finished_at
    )


def uuid_or_none(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None

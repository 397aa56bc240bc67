"""What the bodies of all kinds of secret have in common."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from libs.common.errors import KtError
from libs.common.protocol.resolver import HistoryEntry
from libs.common.secret import checked_value
from services.api.adapters.http.fields import Body, NamePrefix, SecretValue, VersionNumber, problem


class ListQuery(Body):
    model_config = ConfigDict(strict=False)

    prefix: NamePrefix = ""
    limit: Annotated[int, Field(ge=1, le=500)] = 50
    cursor: Annotated[str, Field(max_length=1024, description="`next_cursor` of the page before")] = ""


class LegacyListQuery(ListQuery):
    legacy: Annotated[bool, Field(description="Only older plaintext rows that were not taken over yet")] = False


class Rotate(Body):
    """A new value."""

    value: SecretValue


class RollBack(Body):
    """Back to an older value."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"version": 1}]})

    version: VersionNumber


class HistoryActor(BaseModel):
    type: str
    id: str


class HistoryItem(BaseModel):
    """One event. ``from_version`` is set for a rollback, ``value_state`` where the event brought a value: what became
    of it. A kept value can be rolled back to, a destroyed one is gone."""

    sequence: int
    event_id: str
    type: str
    time: str
    action: str
    version: int
    from_version: int | None
    value_state: Literal["current", "kept", "destroyed"] | None
    actor: HistoryActor

    @classmethod
    def of(cls, entry: HistoryEntry) -> HistoryItem:
        return cls(
            sequence=entry.sequence,
            event_id=entry.event_id,
            type=entry.type,
            time=entry.time,
            action=entry.action,
            version=entry.version,
            from_version=entry.from_version or None,
            value_state=entry.value_state or None,
            actor=HistoryActor(type=entry.actor_type, id=entry.actor_id),
        )


def refuse_value(document: Any, may_change: str) -> Any:
    """For a merge patch (RFC 7396): the value is no part of it, and something has to be.

    Raises:
        KtError: ``redacted_value`` or ``invalid_request``.
    """
    if isinstance(document, dict) and "value" in document:
        raise _value_in_patch(document["value"])
    if document == {}:
        raise problem("invalid_request", "the request", "changes nothing", may_change)
    return document


def _value_in_patch(value: Any) -> KtError:
    if isinstance(value, str):
        try:
            checked_value(value)
        except KtError as error:
            if error.code == "redacted_value":
                return error
    return problem("invalid_request", "value", "can't be changed by PATCH", "a POST to /rotate for a new value")

"""The stored form of an event: one CloudEvents 1.0 JSON document in canonical bytes.

The bytes are what is hashed, copied and proven, so nothing that matters is only in a header.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

from libs.common.canonical import canonical_json
from libs.common.events.registry import REGISTRY, Detail, EventRegistry, EventType, MalformedEvent

MAX_EVENT_BYTES: Final = 16 * 1024


@dataclass(frozen=True, slots=True)
class Actor:
    """Who did it: a role or ``service``, and the subject of its token."""

    type: str
    id: str


@dataclass(frozen=True, slots=True)
class Origin:
    """The request it came with."""

    id: str
    source_ip: str = ""
    user_agent: str = ""


@dataclass(frozen=True, slots=True)
class Resource:
    """What it was done to. ``version`` is 0 where the resource has none."""

    type: str
    id: str
    version: int = 0


@dataclass(frozen=True, slots=True)
class Metadata:
    """What is known of an event besides what happened. ``time`` is RFC 3339, UTC, microseconds."""

    id: str
    time: str
    org: str
    source: str
    actor: Actor
    origin: Origin
    command_id: str = ""


@dataclass(frozen=True, slots=True)
class RecordedEvent:
    """An event as read back. ``sequence`` is its position in its stream, from 1."""

    event: Any
    resource: Resource
    metadata: Metadata
    sequence: int


def encode(
    event: object, resource: Resource, metadata: Metadata, registry: EventRegistry = REGISTRY
) -> tuple[str, bytes]:
    """The wire name and canonical bytes of an event.

    Raises:
        ValueError: the document is larger than 16 KiB, or not canonical (a float, a non-ASCII key).
    """
    (encoded,) = encode_all([(metadata.id, event, resource)], metadata, registry)
    return encoded


def encode_all(
    events: Iterable[tuple[str, object, Resource]], metadata: Metadata, registry: EventRegistry = REGISTRY
) -> list[tuple[str, bytes]]:
    """The same for events of one request: each with an id of its own, and all else as ``metadata`` says."""
    origin = {"id": metadata.origin.id}
    if metadata.origin.source_ip:
        origin["source_ip"] = metadata.origin.source_ip
    if metadata.origin.user_agent:
        origin["user_agent"] = metadata.origin.user_agent
    document: dict[str, Any] = {
        "specversion": "1.0",
        "source": metadata.source,
        "time": metadata.time,
        "datacontenttype": "application/json",
        "org": metadata.org,
    }
    if metadata.command_id:
        document["commandid"] = metadata.command_id
    data = {"actor": {"type": metadata.actor.type, "id": metadata.actor.id}, "request": origin}
    return [
        _encoded(event_id, registry.write(event), resource, document, data) for event_id, event, resource in events
    ]


def _encoded(
    event_id: str,
    written: tuple[EventType, Detail],
    resource: Resource,
    document: Mapping[str, Any],
    data: Mapping[str, Any],
) -> tuple[str, bytes]:
    kind, detail = written
    target: dict[str, Any] = {"type": resource.type, "id": resource.id}
    if resource.version:
        target["version"] = resource.version
    body = canonical_json(
        {
            **document,
            "id": event_id,
            "type": kind.wire_name,
            "subject": f"{resource.type}/{resource.id}",
            "data": {
                **data,
                "category": kind.category,
                "action": kind.action,
                "outcome": {"result": "failure", "reason": detail["reason"]}
                if kind.failure
                else {"result": "success"},
                "resource": target,
                "detail": detail,
            },
        }
    )
    if len(body) > MAX_EVENT_BYTES:
        raise ValueError(f"an event has at most {MAX_EVENT_BYTES} bytes; this one has {len(body)}")
    return kind.wire_name, body


def decode(body: bytes, sequence: int, registry: EventRegistry = REGISTRY) -> RecordedEvent:
    """Read a stored event.

    Raises:
        MalformedEvent: not a document of this form.
        UnknownEventType: written by a newer version of the software.
    """
    try:
        document = orjson.loads(body)
        data = document["data"]
        origin, target, actor = data["request"], data["resource"], data["actor"]
        return RecordedEvent(
            event=registry.read(document["type"], data["detail"]),
            resource=Resource(target["type"], target["id"], target.get("version", 0)),
            metadata=Metadata(
                id=document["id"],
                time=document["time"],
                org=document["org"],
                source=document["source"],
                actor=Actor(actor["type"], actor["id"]),
                origin=Origin(origin["id"], origin.get("source_ip", ""), origin.get("user_agent", "")),
                command_id=document.get("commandid", ""),
            ),
            sequence=sequence,
        )
    except (orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise MalformedEvent(f"sequence {sequence}: {type(error).__name__}") from None

"""What is sent: the event, byte for byte as it is on record, in the frame that Standard Webhooks recommends."""

from __future__ import annotations

from dataclasses import dataclass

import orjson

from libs.common.events import MalformedEvent


@dataclass(frozen=True, slots=True)
class EventHead:
    """What a delivery has to know of an event."""

    id: str
    type: str
    org: str
    time: str


def head_of(body: bytes) -> EventHead:
    """
    Raises:
        MalformedEvent: the stored message is no event.
    """
    try:
        document = orjson.loads(body)
        head = EventHead(document["id"], document["type"], document["org"], document["time"])
    except (orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise MalformedEvent(type(error).__name__) from None
    if not all(isinstance(part, str) for part in (head.id, head.type, head.org, head.time)):
        raise MalformedEvent("a member that names the event is not text")
    return head


def payload(body: bytes) -> bytes:
    """The body of the request: ``{"type", "timestamp", "data"}``, where ``data`` is the stored event."""
    head = head_of(body)
    return b'{"type":%b,"timestamp":%b,"data":%b}' % (orjson.dumps(head.type), orjson.dumps(head.time), body)

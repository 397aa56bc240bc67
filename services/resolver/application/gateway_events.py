"""The events of a gateway's access log."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final, assert_never

from libs.common.clock import rfc3339
from libs.common.events import Actor, Metadata, Origin, Resource, encode
from libs.common.events.gateway_access import (
    GatewayAccessEvent,
    GatewayAccessLogEnded,
    GatewayAccessLogStarted,
    GatewayRequestFailed,
    GatewayRequestServed,
    GatewayRequestsRefused,
    GatewayRequestsUnrecorded,
    RefusedFrom,
)
from libs.common.names import looks_like_secret
from libs.common.protocol.gateway_access import (
    EndedNote,
    Note,
    RefusedNote,
    RequestLine,
    StartedNote,
    UnrecordedNote,
)
from services.resolver.application.recording import SOURCE

ANONYMOUS: Final = "(anonymous)"
WITHHELD: Final = "(withheld)"
"""Stands for a name in the shape of a key: what a gateway sent there may be one."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class GatewayEpoch:
    """Whose record it is: org and name as the bus enforces them."""

    org: str
    name: str
    epoch: str


def encoded(gateway: GatewayEpoch, sequence: int, record: RequestLine | Note, event_id: str) -> bytes:
    """The canonical bytes of record number ``sequence`` of the gateway's epoch."""
    actor, began = Actor("gateway", gateway.name), 0
    if isinstance(record, RequestLine):
        actor, began = Actor("client", _name(record.client) or ANONYMOUS), record.started
        event: GatewayAccessEvent = _request(gateway.epoch, sequence, record)
    else:
        event, began = _noted(gateway.epoch, sequence, record)
    metadata = Metadata(event_id, _time(began), gateway.org, SOURCE, actor, Origin(gateway.epoch))
    return encode(event, Resource("gateway", gateway.name), metadata)[1]


def _request(epoch: str, sequence: int, line: RequestLine) -> GatewayRequestServed | GatewayRequestFailed:
    what = (
        _name(line.target),
        line.store,
        _name(line.reference),
        line.version,
        line.earliest_version,
        line.status,
        line.latency,
        line.request_bytes,
        line.response_bytes,
        _name(line.client_token),
    )
    if line.failure:
        return GatewayRequestFailed(epoch, sequence, line.failure, *what)
    return GatewayRequestServed(epoch, sequence, *what)


def _noted(epoch: str, sequence: int, note: Note) -> tuple[GatewayAccessEvent, int]:
    match note:
        case StartedNote():
            return GatewayAccessLogStarted(
                epoch, sequence, note.recording, note.previous_epoch, note.previous_ended
            ), note.at
        case EndedNote():
            return GatewayAccessLogEnded(
                epoch, sequence, note.served, note.failed, note.refused, note.unrecorded
            ), note.at
        case RefusedNote():
            first, last = _time(note.first_at), _time(note.last_at)
            addresses = tuple(RefusedFrom(_name(address), count) for address, count in note.addresses)
            return GatewayRequestsRefused(
                epoch, sequence, note.reason, note.count, first, last, addresses, note.elsewhere
            ), note.last_at
        case UnrecordedNote():
            first, last = _time(note.first_at), _time(note.last_at)
            return GatewayRequestsUnrecorded(
                epoch, sequence, note.reason, note.count, note.exact, first, last
            ), note.last_at
        case _:
            assert_never(note)


@lru_cache(maxsize=4096)
def _name(text: str) -> str:
    return text if text.isprintable() and not looks_like_secret(text) else WITHHELD


def _time(microseconds: int) -> str:
    return rfc3339(_EPOCH + timedelta(microseconds=microseconds))

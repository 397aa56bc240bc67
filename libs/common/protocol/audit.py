"""What the audit service answers."""

from __future__ import annotations

from pydantic import Field

from libs.common.messaging.rpc import Endpoint, Message


class ListEvents(Message):
    """A page of the log, newest first. ``cursor`` is opaque and belongs to its filter.

    ``order`` ``oldest`` with a cursor gives what came after it, for following the log.
    """

    org: str
    filter: str = Field(default="", max_length=4096)
    limit: int = Field(default=50, ge=1, le=500)
    cursor: str = Field(default="", max_length=1024)
    follow: bool = False


class EventPage(Message):
    """``items`` are the stored documents as JSON text, byte for byte; ``positions`` their stream and sequence."""

    items: list[str]
    positions: list[tuple[str, int]]
    next_cursor: str


LIST = Endpoint("kt.audit.v1.list", "audit", ListEvents, EventPage, "A page of the audit log")

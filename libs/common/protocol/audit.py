"""What the audit service answers."""

from __future__ import annotations

from pydantic import Field

from libs.common.messaging.rpc import Endpoint, Message


class ListEvents(Message):
    """A page of one org's log. ``filter`` is in the language of docs/reference/event-filter.md.

    Newest first; ``cursor`` goes on where a page ended, for the same org and filter. With ``follow``, oldest first:
    without a cursor the newest entries, with one what came after it.
    """

    org: str
    filter: str = Field(default="", max_length=4096)
    limit: int = Field(default=50, ge=1, le=500)
    cursor: str = Field(default="", max_length=1024)
    follow: bool = False


class EventPage(Message):
    """``items`` are the stored documents as JSON text, byte for byte; ``positions`` their stream and sequence.

    A page may hold fewer than ``limit``, because it is bounded in bytes as well. ``next_cursor`` is empty at the end
    of a listing; following has no end, and every page has one. What was stored but is no event is shown as a document
    of type ``kt.audit.unreadable.v1``.
    """

    items: list[str]
    positions: list[tuple[str, int]]
    next_cursor: str


LIST = Endpoint("kt.audit.v1.list", "audit", ListEvents, EventPage, "A page of the audit log")

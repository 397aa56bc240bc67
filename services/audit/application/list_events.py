"""Pages of the log: newest first for reading, oldest first for following."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from libs.common.protocol.audit import EventPage, ListEvents
from services.audit.application.ports import EntryReader, Freshness
from services.audit.domain import cursor
from services.audit.domain.document import document_text
from services.audit.domain.filter import Filter
from services.audit.domain.filter_text import parse, render
from services.audit.domain.page import ListedEntry, Positions, within_bytes
from services.audit.domain.streams import STREAM_NAMES

FRESHNESS_WAIT_S: Final = 3.0
"""How long a reader waits for what happened just before it asked; less than the caller waits for an answer."""

MAX_PAGE_BYTES: Final = 384 * 1024
"""Bodies in one page. As escaped JSON text they stay below the bus's default limit of 1 MiB a message."""


class ListEventsHandler:
    """Answers :data:`libs.common.protocol.audit.LIST` for the org of the request."""

    def __init__(self, reader: EntryReader, freshness: Freshness) -> None:
        self._reader = reader
        self._freshness = freshness

    async def __call__(self, _subject: str, request: ListEvents) -> EventPage:
        """
        Raises:
            KtError: ``invalid_filter``, ``invalid_cursor`` or ``unavailable``.
        """
        filter_ = parse(request.filter)
        if request.follow:
            return await self._follow(request, filter_)
        return await self._list(request, filter_)

    async def _list(self, request: ListEvents, filter_: Filter) -> EventPage:
        scope = request.org, render(filter_)
        before = cursor.read_older_than(request.cursor, *scope) if request.cursor else None
        if before is None:
            await self._freshness.caught_up(FRESHNESS_WAIT_S)
        found = await self._reader.newest(request.org, filter_, request.limit + 1, before=before)
        page = within_bytes(found, request.limit, MAX_PAGE_BYTES)
        next_cursor = cursor.older_than(page.entries[-1].key, *scope) if page.more else ""
        return _reply(page.entries, request.org, next_cursor)

    async def _follow(self, request: ListEvents, filter_: Filter) -> EventPage:
        """Without a cursor: the newest entries, and a cursor for what comes after them."""
        scope = request.org, render(filter_)
        after = cursor.read_newer_than(request.cursor, *scope) if request.cursor else None
        await self._freshness.caught_up(FRESHNESS_WAIT_S)
        up_to = await self._reader.positions()
        if after is None:
            newest = await self._reader.newest(request.org, filter_, request.limit, up_to=up_to)
            page = within_bytes(newest, request.limit, MAX_PAGE_BYTES)
            return _reply(page.entries[::-1], request.org, cursor.newer_than(up_to, *scope))
        found = await self._reader.after(request.org, filter_, request.limit + 1, after=after, up_to=up_to)
        page = within_bytes(found, request.limit, MAX_PAGE_BYTES)
        seen = _last_seen(after, page.entries) if page.more else _later(after, up_to)
        return _reply(page.entries, request.org, cursor.newer_than(seen, *scope))


def _last_seen(after: Positions, entries: Sequence[ListedEntry]) -> Positions:
    return {**after, **{entry.key.stream: entry.key.sequence for entry in entries}}


def _later(one: Positions, other: Positions) -> Positions:
    return {stream: max(one[stream], other[stream]) for stream in STREAM_NAMES}


def _reply(entries: Sequence[ListedEntry], org: str, next_cursor: str) -> EventPage:
    return EventPage(
        items=[document_text(entry, org) for entry in entries],
        positions=[(STREAM_NAMES[entry.key.stream], entry.key.sequence) for entry in entries],
        next_cursor=next_cursor,
    )

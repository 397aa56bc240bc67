"""Reading the log: complete, fresh, in order, of one's own org, and the same pages whatever is written meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import orjson
import pytest

from libs.common.errors import KtError
from libs.common.protocol.audit import EventPage, ListEvents
from libs.common.subjects import ACCESS, EVENTS, access_subject
from services.audit.adapters.entries_reader import PostgresEntryReader
from services.audit.adapters.stream_freshness import StreamFreshness
from services.audit.application.list_events import MAX_PAGE_BYTES, ListEventsHandler
from services.audit.domain.document import UNREADABLE
from tests.engines import Bus, Database
from tests.integration.audit.log import Log, open_log

Position = tuple[str, int]


@dataclass(slots=True)
class Reader:
    log: Log
    handler: ListEventsHandler

    async def page(self, **request: Any) -> EventPage:
        return await self.handler("kt.audit.v1.list", ListEvents(**{"org": "acme", **request}))

    async def walk(self, **request: Any) -> list[EventPage]:
        """All pages from the newest to the oldest."""
        pages = [await self.page(**request)]
        while pages[-1].next_cursor:
            pages.append(await self.page(**request, cursor=pages[-1].next_cursor))
        return pages


@asynccontextmanager
async def reading(bus: Bus, database: Database, *streams: str) -> AsyncIterator[Reader]:
    """A reader beside running projections of ``streams``, by default both."""
    async with open_log(bus, database) as log, log.projecting(*streams) as runners:
        freshness = StreamFreshness(log.bulk, runners)
        yield Reader(log, ListEventsHandler(PostgresEntryReader(log.pool), freshness))


def positions(*pages: EventPage) -> list[Position]:
    return [position for page in pages for position in page.positions]


def documents(page: EventPage) -> list[Any]:
    return [orjson.loads(item) for item in page.items]


async def test_an_empty_log_is_one_empty_page(nats_server: Bus, postgres: Database) -> None:
    async with reading(nats_server, postgres) as reader:
        assert await reader.page() == EventPage(items=[], positions=[], next_cursor="")
        followed = await reader.page(follow=True)
        assert (followed.items, await reader.page(follow=True, cursor=followed.next_cursor)) == ([], followed)


async def test_what_was_done_before_asking_is_in_the_answer(nats_server: Bus, postgres: Database) -> None:
    async with reading(nats_server, postgres) as reader:
        for number in range(20):
            await reader.log.append(f"KEY_{number}")
            page = await reader.page(filter=f"resource=KEY_{number}")
            assert [document["data"]["resource"]["id"] for document in documents(page)] == [f"KEY_{number}"]


async def test_both_streams_are_listed_newest_first_byte_for_byte(nats_server: Bus, postgres: Database) -> None:
    async with reading(nats_server, postgres) as reader:
        await reader.log.append("A")
        await reader.log.record(2)
        await reader.log.append("A")
        page = await reader.page()
        assert positions(page) == [(EVENTS, 2), (ACCESS, 2), (ACCESS, 1), (EVENTS, 1)]
        stored = {(EVENTS, n): body for n, body in await reader.log.messages(EVENTS)}
        stored |= {(ACCESS, n): body for n, body in await reader.log.messages(ACCESS)}
        assert [item.encode() for item in page.items] == [stored[position] for position in page.positions]


async def test_another_org_is_another_log(nats_server: Bus, postgres: Database) -> None:
    async with reading(nats_server, postgres) as reader:
        await reader.log.append("A", org="acme")
        await reader.log.append("A", org="other")
        await reader.log.put(access_subject("other", "thing", "A"), b"no event")
        assert positions(await reader.page()) == [(EVENTS, 1)]
        assert positions(await reader.page(org="other")) == [(ACCESS, 1), (EVENTS, 2)]
        assert positions(await reader.page(org="other", follow=True)) == [(EVENTS, 2), (ACCESS, 1)]
        assert positions(await reader.page(org="nobody")) == []


@pytest.mark.parametrize("limit", [1, 7, 40, 41, 500])
async def test_pages_together_are_the_whole_listing(nats_server: Bus, postgres: Database, limit: int) -> None:
    async with reading(nats_server, postgres) as reader:
        await reader.log.append("A", times=10)
        await reader.log.record(30)
        (whole,) = await reader.walk(limit=500)
        pages = await reader.walk(limit=limit)
        assert positions(*pages) == positions(whole)
        assert len(positions(whole)) == 40
        assert all(len(page.items) == limit for page in pages[:-1])


async def test_pages_stay_the_same_while_events_come_in(nats_server: Bus, postgres: Database) -> None:
    async with reading(nats_server, postgres) as reader:
        await reader.log.append("A", times=20)
        await reader.log.record(150)
        (before,) = await reader.walk(limit=500)

        enough = asyncio.Event()

        async def keep_writing() -> None:
            while not enough.is_set():
                await reader.log.record(5)
                await reader.log.append("A")

        writing = asyncio.create_task(keep_writing())
        try:
            pages = await reader.walk(limit=7)
        finally:
            enough.set()
            await asyncio.wait_for(writing, 30)
        seen = positions(*pages)
        assert len(set(seen)) == len(seen)
        assert [position for position in seen if position in set(before.positions)] == before.positions


async def test_a_page_is_bounded_in_bytes_and_large_entries_do_not_end_the_listing(
    nats_server: Bus, postgres: Database
) -> None:
    async with reading(nats_server, postgres) as reader:
        for size in (1_000_000, 60_000, 60_000, 3_000_000, 60_000, 60_000, 60_000, 60_000, 60_000, 60_000):
            await reader.log.put(access_subject("acme", "thing", "A"), b"\xff" * size)
        pages = await reader.walk(limit=100)
        assert positions(*pages) == [(ACCESS, n) for n in range(10, 0, -1)]
        assert len(pages) > 1
        for page in pages:
            assert len(page.model_dump_json()) < 2 * MAX_PAGE_BYTES + 100_000
            assert {document["type"] for document in documents(page)} == {UNREADABLE}


async def test_a_cursor_belongs_to_its_filter_and_org(nats_server: Bus, postgres: Database) -> None:
    async with reading(nats_server, postgres) as reader:
        await reader.log.record(10)
        page = await reader.page(filter="action=resolve", limit=3)
        same = await reader.page(filter=" action = resolve ", limit=3, cursor=page.next_cursor)
        assert positions(same) == [(ACCESS, 7), (ACCESS, 6), (ACCESS, 5)]
        for other in ({"filter": "action!=x"}, {"filter": "action=resolve", "org": "other"}, {"follow": True}):
            with pytest.raises(KtError) as caught:
                await reader.page(**other, cursor=page.next_cursor)
            assert caught.value.code == "invalid_cursor"


async def test_a_filter_that_can_not_be_read_is_refused(nats_server: Bus, postgres: Database) -> None:
    async with reading(nats_server, postgres) as reader:
        with pytest.raises(KtError) as caught:
            await reader.page(filter="action=resolve AND colour=red")
        assert (caught.value.code, caught.value.extra["position"]) == ("invalid_filter", 20)


async def test_following_begins_with_the_newest_and_gives_every_later_entry_once_in_order(
    nats_server: Bus, postgres: Database
) -> None:
    async with reading(nats_server, postgres) as reader:
        await reader.log.append("A", times=5)
        page = await reader.page(follow=True, limit=2)
        assert positions(page) == [(EVENTS, 4), (EVENTS, 5)]
        seen: list[Position] = []
        for _ in range(6):
            writing = asyncio.gather(reader.log.record(11), reader.log.append("A", times=4))
            for _ in range(3):
                page = await reader.page(follow=True, limit=5, cursor=page.next_cursor)
                seen += page.positions
            await writing
        while page.items:
            page = await reader.page(follow=True, limit=5, cursor=page.next_cursor)
            seen += page.positions
        assert [n for stream, n in seen if stream == EVENTS] == list(range(6, 30))
        assert [n for stream, n in seen if stream == ACCESS] == list(range(1, 67))


async def test_following_finds_what_is_projected_late(nats_server: Bus, postgres: Database) -> None:
    async with reading(nats_server, postgres, EVENTS) as reader:
        await reader.log.record(2)
        await reader.log.append("A")
        page = await reader.page(follow=True)
        assert positions(page) == [(EVENTS, 1)]
        await reader.log.append("A")
        page = await reader.page(follow=True, cursor=page.next_cursor)
        assert positions(page) == [(EVENTS, 2)]
        async with reader.log.projecting(ACCESS):
            page = await reader.page(follow=True, cursor=page.next_cursor)
        assert positions(page) == [(ACCESS, 1), (ACCESS, 2)]


async def test_following_with_a_filter_does_not_stop_at_what_it_leaves_out(
    nats_server: Bus, postgres: Database
) -> None:
    async with reading(nats_server, postgres) as reader:
        page = await reader.page(follow=True, filter="resource=B")
        for name in ("A", "B", "A", "A"):
            await reader.log.append(name)
        page = await reader.page(follow=True, filter="resource=B", cursor=page.next_cursor)
        assert positions(page) == [(EVENTS, 2)]
        page = await reader.page(follow=True, filter="resource=B", cursor=page.next_cursor)
        assert positions(page) == []


async def test_a_log_that_can_not_catch_up_is_shown_as_far_as_it_is(
    nats_server: Bus, postgres: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.audit.application.list_events.FRESHNESS_WAIT_S", 0.5)
    async with open_log(nats_server, postgres) as log:
        await log.append("A")
        await log.project()
        await log.append("A")
        stopped = StreamFreshness(log.bulk, {EVENTS: log.runner(EVENTS), ACCESS: log.runner(ACCESS)})
        reader = Reader(log, ListEventsHandler(PostgresEntryReader(log.pool), stopped))
        loop = asyncio.get_running_loop()
        began = loop.time()
        assert positions(await reader.page()) == [(EVENTS, 1)]
        assert 0.4 < loop.time() - began < 30
        await nats_server.kill()
        assert positions(await reader.page()) == [(EVENTS, 1)]


async def test_without_the_database_the_answer_says_so(nats_server: Bus, postgres: Database) -> None:
    async with open_log(nats_server, postgres) as log:
        await log.pool.close()
        with pytest.raises(KtError) as caught:
            await PostgresEntryReader(log.pool).positions()
        assert caught.value.code == "unavailable"


async def test_a_search_that_takes_too_long_is_given_up(
    nats_server: Bus, postgres: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.audit.adapters.entries_reader.QUERY_TIMEOUT_S", 0.2)
    async with open_log(nats_server, postgres) as log, log.pool.connection() as blocker, blocker.transaction():
        await blocker.execute("LOCK TABLE checkpoints IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(KtError, match="could not be searched") as caught:
            await PostgresEntryReader(log.pool).positions()
        assert caught.value.code == "unavailable"
    # The connection it ran on is fit for use again, or was replaced.

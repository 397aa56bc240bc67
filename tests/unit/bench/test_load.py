"""What makes load: the HTTP client, the worker protocol, and events like those of the services."""

from __future__ import annotations

import asyncio
import itertools

import pytest

from bench.bus import access_bodies, event_bodies
from bench.http_client import LOST, PLACE, message_size, start
from bench.worker import Worker, WorkerFailed
from libs.common.events import decode

ANSWER = b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\nserver: x\r\n\r\n{}"


@pytest.mark.parametrize("length", range(len(ANSWER)))
def test_an_answer_is_complete_with_its_last_byte(length: int) -> None:
    size = message_size(ANSWER[:length])

    assert size is None or size > length
    assert message_size(ANSWER) == len(ANSWER) == message_size(ANSWER + ANSWER)


def test_an_answer_without_a_body_ends_with_its_head() -> None:
    head = b"HTTP/1.1 204 No Content\r\nserver: x\r\n\r\n"

    assert message_size(head + ANSWER) == len(head)


def test_an_answer_of_unknown_length_is_refused() -> None:
    with pytest.raises(ValueError, match="content-length"):
        message_size(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")


async def test_each_request_of_a_load_has_its_own_number_and_every_answer_is_counted() -> None:
    seen: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while request := await reader.read(1024):
            seen.append(request)
            writer.write(ANSWER)
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        run = await start("127.0.0.1", port, b"POST " + PLACE, connections=3, seconds=0.05, numbers=itertools.count())
        statuses = await run.end()

    assert statuses[201] == len(seen) == len(set(seen)) > 3
    assert statuses[LOST] == 0


async def test_a_connection_that_breaks_before_the_answer_counts_as_lost() -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1024)
        writer.close()

    async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        run = await start("127.0.0.1", port, b"GET", connections=2, seconds=0.05)
        statuses = await run.end()

    assert statuses == {LOST: 2}


def test_a_worker_answers_what_it_is_asked_until_it_is_left() -> None:
    with Worker("upstream") as worker:
        assert worker.ask("start", watch=True) > 0
        assert worker.ask("seen", key="none", within_s=0.01) == 0
        assert worker.ask("gaps") == []


def test_a_worker_that_ends_is_noticed() -> None:
    with Worker("upstream") as worker, pytest.raises(WorkerFailed, match="ended with status"):
        worker.ask("no such task")


def test_bodies_of_the_load_are_events_of_the_registry() -> None:
    for body in (*event_bodies(3), *access_bodies(3)):
        assert decode(body, 1).metadata.org == "bench"

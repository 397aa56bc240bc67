"""The access log: durable on return, grouped under load, refused as a whole when the bus is away."""

from __future__ import annotations

import asyncio

import pytest

from libs.common.access_log import AccessLog, WrongLastSequence
from libs.common.direct_get import DirectReader
from libs.common.errors import KtError
from libs.common.stream_reader import stream_range
from libs.common.subjects import ACCESS, access_subject
from tests.engines import Bus, eventually


def records(count: int, mark: str = "x") -> list[tuple[str, bytes]]:
    return [(access_subject("acme", "config_variable", f"N{i}"), f"{mark}{i}".encode()) for i in range(count)]


@pytest.mark.parametrize("count", [1, 2, 100, 1200])
async def test_records_are_stored_in_order_when_the_call_returns(nats_server: Bus, count: int) -> None:
    client = await nats_server.connect("resolver")
    await AccessLog(client).record(records(count))
    assert await stream_range(client, ACCESS) == (1, count)
    last = await DirectReader(client, ACCESS).at(count)
    assert last is not None
    assert last.body == f"x{count - 1}".encode()


async def test_many_callers_share_batches_and_none_is_lost(nats_server: Bus) -> None:
    client = await nats_server.connect("resolver")
    log = AccessLog(client)
    await asyncio.gather(*(log.record(records(3, f"c{n}-")) for n in range(200)))
    assert await stream_range(client, ACCESS) == (1, 600)


async def test_without_the_bus_nothing_is_acknowledged(nats_server: Bus) -> None:
    client = await nats_server.connect("resolver")
    log = AccessLog(client)
    await log.record(records(1))
    await nats_server.kill()
    with pytest.raises(KtError) as caught:
        await log.record(records(5))
    assert caught.value.code == "unavailable"
    await nats_server.restart()
    await eventually(lambda: client.is_connected)
    await log.record(records(2))
    assert (await stream_range(client, ACCESS))[1] in (3, 8)


def chain(name: str, count: int, mark: str) -> list[tuple[str, bytes]]:
    return [(access_subject("acme", "gateway_request", name), f"{mark}{i}".encode()) for i in range(count)]


async def test_an_append_goes_behind_the_message_it_expects_and_nowhere_else(nats_server: Bus) -> None:
    client = await nats_server.connect("resolver")
    log = AccessLog(client)
    await log.record(records(4))
    first = await log.append(chain("edge", 3, "a"), expected=0)
    assert first == 7
    with pytest.raises(WrongLastSequence):
        await log.append(chain("edge", 3, "again"), expected=0)
    assert await log.append(chain("edge", 1, "b"), expected=first) == 8
    assert await stream_range(client, ACCESS) == (1, 8)


async def test_who_shares_a_batch_with_a_refused_append_is_stored_all_the_same(nats_server: Bus) -> None:
    client = await nats_server.connect("resolver")
    log = AccessLog(client)
    last = await log.append(chain("edge", 1, "a"), expected=0)
    outcomes = await asyncio.gather(
        log.record(records(2)),  # goes first and alone, so that the others wait and share a batch
        log.append(chain("other", 2, "o"), expected=0),
        log.append(chain("edge", 2, "zombie"), expected=0),
        log.append(chain("third", 2, "t"), expected=0),
        log.record(records(1, "y")),
        return_exceptions=True,
    )
    assert isinstance(outcomes[2], WrongLastSequence)
    assert [outcomes[1], outcomes[3]] == [last + 4, last + 6]
    assert await stream_range(client, ACCESS) == (1, 8)

"""The queue between proxy and system: numbered without a gap, bounded, and honest about what it lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest

from libs.common.errors import KtError
from services.gateway.application import access_log as module
from services.gateway.application import losses
from services.gateway.application.access_log import AccessLog, Batch
from services.gateway.application.losses import LossWatch, ProxyCounts
from services.gateway.application.refusals import MAX_ADDRESSES, MAX_COUNTED, RefusalCounter
from services.gateway.domain.access import (
    Ended,
    Epoch,
    Loss,
    Record,
    Recording,
    RefusedRequests,
    RequestRecord,
    Started,
    UnrecordedRequests,
)
from services.gateway.domain.exchange import Exchange, Refusal

CONTROL = "control"


@dataclass
class World:
    """System, home and clock of a gateway."""

    known: bool = True
    epochs: dict[str, list[Record]] = field(default_factory=dict)
    kept: Epoch | None = None
    failures: list[KtError] = field(default_factory=list)
    away: bool = False
    asked: int = 0
    made: int = 0

    def now(self) -> datetime:
        return datetime(2026, 11, 23, tzinfo=UTC)

    def new_epoch(self) -> str:
        self.made += 1
        return f"epoch-{self.made}"

    def last(self) -> Epoch | None:
        return self.kept

    def keep(self, epoch: Epoch) -> None:
        self.kept = epoch

    async def record_access(self, batch: Batch) -> int:
        self.asked += 1
        if self.away:
            raise KtError("unreachable", "No.")
        if self.failures:
            raise self.failures.pop(0)
        recorded = self.epochs.setdefault(batch.epoch, [])
        assert batch.first <= len(recorded) + 1
        recorded.extend(batch.records[len(recorded) + 1 - batch.first :])
        return len(recorded)

    @property
    def last_epoch(self) -> list[Record]:
        return list(self.epochs.values())[-1]


@pytest.fixture(autouse=True)
def without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FIRST_RETRY_S", "LONGEST_RETRY_S", "COLLECT_S"):
        monkeypatch.setattr(module, name, 0.001)


@asynccontextmanager
async def started(world: World, recording: Recording = Recording.ALL) -> AsyncIterator[AccessLog]:
    access = AccessLog(
        sink=world,
        epochs=world,
        history_of=lambda _: (),
        clock=world,
        new_epoch=world.new_epoch,
        control=CONTROL,
    )
    access.record(recording)
    sending = asyncio.create_task(access.run())
    try:
        yield access
    finally:
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)


def served(count: int = 1) -> list[Exchange]:
    return [Exchange(n, 10, 5, 200, 1, 2, "d", "app", "jti", "10.0.0.1", "via_upstream") for n in range(count)]


def refused(address: str = "10.0.0.1") -> Exchange:
    return Exchange(7, 10, 0, 401, 0, 0, "", "", "", address, "jwt_authn_access_denied{Jwt_is_missing}")


async def until(condition: object) -> None:
    assert callable(condition)
    async with asyncio.timeout(30):
        while True:
            if condition():
                return
            await asyncio.sleep(0.001)


async def test_records_arrive_in_order_behind_the_one_that_begins_the_epoch() -> None:
    world = World()
    async with started(world) as access:
        access.take(served(2500), run=0)
        await access.finish(30)
    begun, *requests, ended = world.last_epoch
    assert isinstance(begun, Started)
    assert [r.started for r in requests if isinstance(r, RequestRecord)] == list(range(2500))
    assert isinstance(ended, Ended)
    assert (ended.served, world.kept) == (2500, Epoch("epoch-1", ended=True))


async def test_without_a_system_nothing_is_kept_and_nobody_is_asked() -> None:
    world = World(known=False)
    async with started(world) as access:
        access.take([*served(10), refused()], run=0)
        access.tick()
        await access.finish(30)
        assert access.status().as_document()["recording"] == "nothing"
    assert (world.asked, world.made) == (0, 0)


async def test_an_answer_that_was_lost_makes_no_record_twice() -> None:
    world = World()
    async with started(world) as access:
        access.take(served(3), run=0)
        await until(lambda: world.epochs and len(world.last_epoch) == 4)
        record = world.record_access

        async def unanswered(batch: Batch) -> int:
            await record(batch)
            world.record_access = record  # type: ignore[method-assign]
            raise KtError("unavailable", "No answer in time.")

        world.record_access = unanswered  # type: ignore[method-assign]
        access.take(served(3), run=0)
        await access.finish(30)
    assert len([r for r in world.last_epoch if isinstance(r, RequestRecord)]) == 6
    assert list(world.epochs) == ["epoch-1"]


async def test_an_epoch_that_cannot_go_on_is_followed_by_another_that_names_it() -> None:
    world = World()
    async with started(world) as access:
        access.take(served(2), run=0)
        await until(lambda: world.epochs and len(world.last_epoch) == 3)
        world.failures.append(KtError("conflict", "Records are missing."))
        access.take(served(2), run=0)
        await access.finish(30)
    begun, *rest = world.epochs["epoch-2"]
    assert isinstance(begun, Started)
    assert (begun.previous_epoch, begun.previous_ended) == ("epoch-1", False)
    assert len([r for r in rest if isinstance(r, RequestRecord)]) == 2


async def test_records_that_the_system_can_not_read_hold_nobody_up_and_count_as_lost() -> None:
    world = World()
    async with started(world) as access:
        await until(lambda: bool(world.epochs))
        world.failures.append(KtError("invalid_request", "No."))
        access.take(served(3), run=0)
        await until(lambda: not world.failures)
        access.take(served(2), run=0)
        await access.finish(30)
    lost = [r for r in world.last_epoch if isinstance(r, UnrecordedRequests)]
    assert [(r.reason, r.count) for r in lost] == [(Loss.TRANSIT_LOST, 3)]
    assert len([r for r in world.last_epoch if isinstance(r, RequestRecord)]) == 2


async def test_a_system_that_is_away_costs_a_bounded_queue_and_the_rest_is_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "MAX_WAITING", 100)
    monkeypatch.setattr(module, "ROOM_AGAIN", 50)
    world = World(away=True)
    async with started(world) as access:
        access.take(served(1000), run=0)
        assert (access.status().waiting, access.status().unrecorded) == (100, 901)
        access.tick()
        assert access.status().waiting == 100
        world.away = False
        await until(lambda: access.status().waiting == 0)
        access.take(served(5), run=0)
        await access.finish(30)
    kinds = [type(record) for record in world.last_epoch]
    assert kinds == [Started, *[RequestRecord] * 99, UnrecordedRequests, *[RequestRecord] * 5, Ended]
    lost = world.last_epoch[100]
    assert isinstance(lost, UnrecordedRequests)
    assert (lost.reason, lost.count, lost.exact) == (Loss.QUEUE_FULL, 901, True)
    ended = world.last_epoch[-1]
    assert isinstance(ended, Ended)
    assert (ended.served + ended.unrecorded, ended.served) == (1005, 104)


async def test_a_stop_without_the_system_ends_in_time_and_the_next_epoch_says_so() -> None:
    world = World(away=True)
    async with started(world) as access:
        access.take(served(3), run=0)
        await access.finish(0.05)
    assert world.kept == Epoch("epoch-1", ended=False)
    world.away = False
    async with started(world) as access:
        await access.finish(30)
    begun = world.last_epoch[0]
    assert isinstance(begun, Started)
    assert (begun.previous_epoch, begun.previous_ended) == ("epoch-1", False)


async def test_only_failures_are_kept_when_only_failures_are_asked_for() -> None:
    world = World()
    async with started(world, Recording.FAILURES) as access:
        failed = served(1)[0]._replace(status=429)
        access.take([*served(5), failed, *served(5)], run=0)
        await access.finish(30)
    assert [r.failure for r in world.last_epoch if isinstance(r, RequestRecord)] == ["rate_limited"]


async def test_a_flood_of_refusals_is_one_record_with_its_number() -> None:
    world = World()
    async with started(world) as access:
        access.take([refused(f"10.0.{n % 40}.1") for n in range(5000)], run=0)
        access.tick()
        await access.finish(30)
    (record,) = [r for r in world.last_epoch if isinstance(r, RefusedRequests)]
    assert (record.count, record.elsewhere, len(record.addresses)) == (5000, 3750, MAX_ADDRESSES)


def test_the_addresses_that_are_told_apart_are_bounded() -> None:
    counter = RefusalCounter()
    for number in range(3 * MAX_COUNTED):
        counter.count(Refusal.UNAUTHENTICATED, str(number), number)
    counter.count(Refusal.UNAUTHENTICATED, "0", 1)
    (record,) = counter.take()
    assert (record.count, record.first_at, record.last_at) == (3001, 0, 2999)
    assert record.addresses[0] == ("0", 2)
    assert sum(count for _, count in record.addresses) + record.elsewhere == 3001
    assert counter.take() == []


@dataclass
class Proxy:
    counts: ProxyCounts | None = None

    async def access_counts(self) -> ProxyCounts | None:
        return self.counts


async def lost_with(*looks: tuple[ProxyCounts | None, int, int]) -> list[tuple[str, int, bool]]:
    """Each look: what the proxy counts, and how many of which run arrived since the look before."""
    world, proxy = World(), Proxy()
    async with started(world) as access:
        watch = LossWatch(access, proxy)
        for counts, arrived, run in looks:
            access.take(served(arrived), run=run)
            proxy.counts = counts
            await watch.look()
        await access.finish(30)
    found = [r for r in world.last_epoch if isinstance(r, UnrecordedRequests)]
    return [(str(r.reason), r.count, r.exact) for r in found]


async def test_what_the_proxy_had_no_room_for_is_lost_by_its_own_count() -> None:
    told = await lost_with((ProxyCounts(0, 10, 0), 10, 0), (ProxyCounts(0, 30, 7), 20, 0), (None, 0, 0))
    assert told == [("proxy_queue_full", 7, True)]


async def test_what_is_on_its_way_is_not_lost_and_what_does_not_arrive_is_found_when_it_is_quiet() -> None:
    under_way = (ProxyCounts(0, 50, 0), 40, 0)
    assert await lost_with(under_way, (ProxyCounts(0, 60, 0), 20, 0), (ProxyCounts(0, 60, 0), 0, 0)) == []
    quiet = (ProxyCounts(0, 50, 0), 0, 0)
    assert await lost_with(under_way, quiet, quiet, quiet) == [("transit_lost", 10, True)]


async def test_a_proxy_that_ended_lost_at_least_what_had_not_arrived() -> None:
    told = await lost_with((ProxyCounts(0, 50, 0), 44, 0), (ProxyCounts(1, 5, 0), 5, 1), (ProxyCounts(1, 5, 0), 0, 1))
    assert told == [("proxy_lost", 6, False)]


@dataclass
class SlowProxy:
    """Says at once what it wrote; the entry itself arrives when it has been asked so often."""

    access: AccessLog
    arrives_after: int
    asked: int = 0

    async def access_counts(self) -> ProxyCounts | None:
        self.asked += 1
        if self.asked == self.arrives_after:
            self.access.take(served(1), run=0)
        return ProxyCounts(0, 1, 0)


@pytest.mark.parametrize(("arrives_after", "lost"), [(1, 0), (5, 0), (99, 1)])
async def test_at_a_stop_what_is_on_its_way_has_time_to_arrive(
    arrives_after: int, lost: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(losses, "SETTLE_S", 0.01)
    monkeypatch.setattr(losses, "SETTLE_STEP_S", 0.001)
    world = World()
    async with started(world) as access:
        await LossWatch(access, SlowProxy(access, arrives_after)).settle()
        await access.finish(30)
    ended = world.last_epoch[-1]
    assert isinstance(ended, Ended)
    assert (ended.served, ended.unrecorded) == (1 - lost, lost)

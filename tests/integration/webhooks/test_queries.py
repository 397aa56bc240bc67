"""What can be asked of the webhooks service: lists, a test, and one more delivery."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest

from libs.common.errors import KtError
from libs.common.events.webhook import WebhookUpdated
from libs.common.postgres import open_pool
from libs.common.protocol.parties import Caller
from libs.common.protocol.webhooks import (
    AdmitUrl,
    DeliveryView,
    GetWebhook,
    ListDeliveries,
    ListWebhooks,
    RedeliverRequest,
    TestRequest,
)
from libs.common.subjects import ACCESS
from services.webhooks.application.ports import Position
from services.webhooks.application.queries import MAX_WEBHOOKS, Queries
from services.webhooks.domain.addresses import AddressPolicy
from services.webhooks.domain.schedule import Response
from tests.engines import Database
from tests.integration.webhooks.world import URL, World, of, rotation, webhook

CALLER = Caller(org="default", actor_type="operator", actor_id="alice", request_id="r1")


@dataclass
class Requests:
    """Implements ``RequestLog``: what was put on record."""

    tests: list[str] = field(default_factory=list)
    again: list[str] = field(default_factory=list)

    async def tested(self, caller: Caller, webhook: str, event_id: str) -> Position:
        self.tests.append(event_id)
        return Position(ACCESS, len(self.tests))

    async def redelivery_requested(self, caller: Caller, webhook: str, delivery: DeliveryView) -> None:
        self.again.append(delivery.id)


@dataclass
class Asked:
    world: World
    queries: Queries
    requests: Requests
    fresh: bool = True

    async def refused(self, request: RedeliverRequest | TestRequest) -> str:
        asking = self.queries.test if isinstance(request, TestRequest) else self.queries.redeliver
        with pytest.raises(KtError) as caught:
            await asking("", request)  # type: ignore[arg-type]
        return caught.value.code


@pytest.fixture
async def asked(postgres: Database) -> AsyncIterator[Asked]:
    async with open_pool(postgres.dsn("webhooks"), "webhooks") as pool:
        world, requests = World(pool), Requests()

        async def caught_up(_: float) -> bool:
            return found.fresh

        policy = AddressPolicy()
        queries = Queries(world.store, requests, policy, world.deliverer, world.clock, caught_up)
        found = Asked(world, queries, requests)
        yield found


def redeliver(delivery: str, name: str = "one", caller: Caller = CALLER) -> RedeliverRequest:
    return RedeliverRequest(caller=caller, webhook=name, delivery=delivery)


async def test_what_has_ended_is_delivered_again_with_its_id_and_that_is_on_record(asked: Asked) -> None:
    world = asked.world
    await world.tell(webhook("one"), rotation())
    await world.now()
    await world.store.record_next(world.record)
    (ended,) = await world.deliveries("one")
    again = await asked.queries.redeliver("", redeliver(ended.id))
    assert (again.status, again.attempts) == ("pending", 0)
    assert (await asked.queries.redeliver("", redeliver(ended.id))).status == "pending", "it is on its way already"
    assert asked.requests.again == [ended.id]
    await world.now()
    assert len({headers["webhook-id"] for _, headers, _ in world.receiver.got}) == 1
    assert len(world.receiver.got) == 2


async def test_what_ended_a_moment_ago_is_delivered_again_once_that_is_on_record(asked: Asked) -> None:
    world = asked.world
    await world.tell(webhook("one"), rotation())
    await world.now()
    (ended,) = await world.deliveries("one")
    asking = asyncio.create_task(asked.queries.redeliver("", redeliver(ended.id)))
    await asyncio.sleep(0)
    assert await world.store.record_next(world.record)
    assert (await asking).status == "pending"


async def test_nothing_is_delivered_to_a_webhook_that_is_disabled(asked: Asked) -> None:
    world = asked.world
    await world.tell(webhook("one"), rotation())
    await world.now()
    await world.store.record_next(world.record)
    (ended,) = await world.deliveries("one")
    await world.tell(of(WebhookUpdated(URL, ("*",), "", enabled=False), "one"))
    assert await asked.refused(redeliver(ended.id)) == "conflict"
    assert await asked.refused(TestRequest(caller=CALLER, webhook="one", request_key="k")) == "conflict"
    assert asked.requests == Requests()


async def test_a_test_is_one_delivery_however_often_it_is_asked_for(asked: Asked) -> None:
    await asked.world.tell(webhook("one"), webhook("all", "*"))
    request = TestRequest(caller=CALLER, webhook="one", request_key="k")
    first, again = [await asked.queries.test("", request) for _ in range(2)]
    assert (first.id, first.event_type) == (again.id, "kt.webhook.tested.v1")
    assert asked.requests.tests == [first.event_id]
    other = await asked.queries.test("", request.model_copy(update={"request_key": "l"}))
    assert other.id != first.id
    assert "kt.webhook.tested.v1" not in {d.event_type for d in await asked.world.deliveries("all")}


async def test_another_org_s_webhooks_and_deliveries_do_not_exist(asked: Asked) -> None:
    world, stranger = asked.world, CALLER.model_copy(update={"org": "acme"})
    await world.tell(webhook("one"), webhook("two"), rotation())
    (delivery, *_) = await world.deliveries("one")
    assert await asked.refused(redeliver(delivery.id, caller=stranger)) == "not_found"
    assert await asked.refused(redeliver(delivery.id, name="two")) == "not_found"
    assert await asked.refused(redeliver("no uuid")) == "not_found"
    with pytest.raises(KtError) as caught:
        await asked.queries.get("", GetWebhook(org="acme", webhook="one"))
    assert caught.value.code == "not_found"
    assert (await asked.queries.list("", ListWebhooks(org="acme"))).items == []


async def test_lists_go_page_by_page(asked: Asked) -> None:
    world = asked.world
    await world.tell(*(webhook(name) for name in "abc"), *(rotation(f"V{n}") for n in range(5)))
    first = await asked.queries.list("", ListWebhooks(org="default", limit=2))
    rest = await asked.queries.list("", ListWebhooks(org="default", after=first.next_after, limit=2))
    assert ([w.id for w in (*first.items, *rest.items)], rest.next_after) == (["a", "b", "c"], 0)

    seen, before = list[str](), 0
    for expected in (2, 2, 1):
        page = await asked.queries.deliveries("", ListDeliveries(org="default", webhook="a", before=before, limit=2))
        assert len(page.items) == expected
        seen, before = [*seen, *(d.id for d in page.items)], page.next_before
    assert before == 0
    assert seen == [d.id for d in await world.deliveries("a")][::-1]

    world.receiver.answer = lambda: Response(500)
    await world.now()
    none = await asked.queries.deliveries("", ListDeliveries(org="default", webhook="a", status="failed"))
    assert none.items == []


async def test_what_is_behind_the_stream_is_not_shown(asked: Asked) -> None:
    asked.fresh = False
    with pytest.raises(KtError) as caught:
        await asked.queries.list("", ListWebhooks(org="default"))
    assert caught.value.code == "unavailable"


async def test_an_address_is_admitted_as_long_as_there_is_room(asked: Asked) -> None:
    public = AdmitUrl(org="default", webhook="new", url="https://receiver.example.com/")
    await asked.queries.admit("", public)
    with pytest.raises(KtError) as private:
        await asked.queries.admit("", public.model_copy(update={"url": "https://10.0.0.1/"}))
    await asked.world.tell(*(webhook(f"w{n}") for n in range(MAX_WEBHOOKS)))
    with pytest.raises(KtError) as full:
        await asked.queries.admit("", public)
    await asked.queries.admit("", public.model_copy(update={"webhook": "w1"}))
    assert [caught.value.code for caught in (private, full)] == ["invalid_request"] * 2

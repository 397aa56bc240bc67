"""From events to deliveries: once for each webhook, tried as long as the schedule says, on record once."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from libs.common.clock import rfc3339
from libs.common.errors import KtError
from libs.common.events.secret import SealedRef
from libs.common.events.webhook import (
    WebhookDeleted,
    WebhookDisabled,
    WebhookSecretRetired,
    WebhookSecretRotated,
    WebhookUpdated,
)
from libs.common.postgres import open_pool
from services.webhooks.application.deliver import LEASE_MARGIN, PER_WEBHOOK
from services.webhooks.application.upkeep import EXPIRES_AFTER, Upkeep
from services.webhooks.domain.schedule import DELAYS, Response, Retried
from services.webhooks.domain.subscription import SigningSecret
from tests.engines import Database
from tests.integration.webhooks.world import URL, World, of, rotation, webhook
from tests.unit.webhooks.support import START

DAY = timedelta(days=1)
DELIVERED_LATE = Retried(START + DAY, "rejected")


@pytest.fixture
async def world(postgres: Database) -> AsyncIterator[World]:
    async with open_pool(postgres.dsn("webhooks"), "webhooks") as pool:
        yield World(pool)


async def test_an_event_becomes_a_delivery_to_each_webhook_that_wants_it(world: World) -> None:
    await world.tell(webhook("one"), webhook("all", "*"), webhook("other", "kt.gateway.*"), rotation())
    await world.tell(webhook("acme"), rotation("B"), org="acme")

    types = {name: [d.event_type for d in await world.deliveries(name)] for name in ("one", "all", "other", "acme")}
    rotated, created = "kt.config_variable.rotated.v1", "kt.webhook.created.v1"
    assert types == {"one": [rotated], "all": [created, created, rotated], "other": [], "acme": [rotated]}


async def test_the_same_event_twice_is_one_delivery(world: World) -> None:
    messages = await world.tell(webhook("one"), rotation())
    await world.project(messages[1:])
    assert len(await world.deliveries("one")) == 1


async def test_what_is_sent_is_the_event_in_a_frame_with_the_headers_of_standard_webhooks(world: World) -> None:
    await world.tell(webhook("one"), rotation())
    assert await world.now() == 1
    ((url, headers, body),) = world.receiver.got
    (delivery,) = await world.deliveries("one")
    assert url == URL
    assert headers["webhook-id"] == delivery.event_id
    assert headers["webhook-timestamp"] == str(int(START.timestamp()))
    assert headers["webhook-signature"] == "v1,one-secret"
    document = json.loads(body)
    assert (document["type"], document["timestamp"]) == (document["data"]["type"], document["data"]["time"])
    assert world.events.body_ is not None
    assert body.endswith(b'"data":' + world.events.body_ + b"}"), "byte for byte as it is on record"
    assert (delivery.status, delivery.attempts, delivery.answered, delivery.next_attempt_at) == (
        "delivered",
        1,
        200,
        "",
    )


async def test_days_of_retries_end_in_a_failure_that_can_be_delivered_again(world: World) -> None:
    await world.tell(webhook("one"), rotation())
    world.receiver.answer = lambda: Response(500)
    for pause in (timedelta(), *DELAYS):
        world.clock.advance(pause - timedelta(milliseconds=1))
        assert await world.now() == 0
        world.clock.advance(timedelta(milliseconds=1))
        assert await world.now() == 1
    assert world.clock.now() - START == timedelta(hours=75, minutes=35, seconds=5)
    world.clock.advance(30 * DAY)
    assert await world.now() == 0
    (failed,) = await world.deliveries("one")
    assert (failed.status, failed.attempts, failed.answered, failed.reason) == ("failed", 10, 500, "rejected")
    assert len({headers["webhook-id"] for _, headers, _ in world.receiver.got}) == 1
    assert len({headers["webhook-timestamp"] for _, headers, _ in world.receiver.got}) == 10

    assert await world.store.record_next(world.record)
    assert await world.store.redeliver("one", failed.id, world.clock.now())
    world.receiver.answer = lambda: Response(204)
    assert await world.now() == 1
    assert await world.store.record_next(world.record)
    (again,) = await world.deliveries("one")
    assert (again.status, again.attempts, again.id) == ("delivered", 1, failed.id)
    assert [(o.delivered, o.attempts, o.answered) for o in world.record.outcomes] == [
        (False, 10, 500),
        (True, 1, 204),
    ]


async def test_while_a_secret_is_replaced_both_sign_and_then_only_the_new_one(world: World) -> None:
    until = rfc3339(START + DAY)
    await world.tell(webhook("one"), of(WebhookSecretRotated(SealedRef("new", "d"), until), "one"), rotation())
    await world.now()
    world.clock.advance(DAY)
    await world.tell(rotation())
    await world.now()
    assert [headers["webhook-signature"] for _, headers, _ in world.receiver.got] == [
        "v1,new v1,one-secret",
        "v1,new",
    ]
    (due,) = await world.store.overdue_secrets(world.clock.now())
    assert (due.webhook, due.since) == ("one", START + DAY)
    await world.tell(of(WebhookSecretRetired((SealedRef("one-secret", "d"),)), "one"))
    assert not await world.store.overdue_secrets(world.clock.now())


async def test_an_address_that_is_gone_is_left_alone_and_the_command_service_is_told(world: World) -> None:
    await world.tell(webhook("one"), rotation("A"))
    world.receiver.answer = lambda: Response(410)
    assert await world.now() == 1
    await world.tell(rotation("B"))
    assert await world.now() == 0
    (due,) = await world.store.gone()
    assert (due.webhook, due.since) == ("one", START)
    await world.tell(of(WebhookDisabled("gone"), "one"), rotation("C"))
    assert not await world.store.gone()
    ended = await world.deliveries("one")
    assert [(d.status, d.reason) for d in ended] == [("failed", "gone"), ("failed", "gone")]

    await world.tell(of(WebhookUpdated(URL, ("*",), "", enabled=True), "one"))
    world.receiver.answer = lambda: Response(200)
    await world.tell(rotation("D"))
    assert await world.now() >= 1, "enabled again, it is told of what happens from then on"


@pytest.mark.parametrize("event", [WebhookUpdated(URL, ("*",), "", enabled=False), WebhookDeleted()])
async def test_switched_off_nothing_more_is_sent_and_what_was_on_its_way_has_failed(world: World, event: Any) -> None:
    reason = "deleted" if isinstance(event, WebhookDeleted) else "disabled"
    await world.tell(webhook("one"), rotation("A"), of(event, "one"), rotation("B"))
    assert await world.now() == 0
    assert [(d.status, d.reason) for d in await world.deliveries("one")] == [("failed", reason)]
    assert await world.store.record_next(world.record)
    assert [o.reason for o in world.record.outcomes] == [reason]


async def test_an_answer_that_asks_for_a_pause_holds_the_webhook_and_no_other(world: World) -> None:
    await world.tell(webhook("busy"), webhook("calm"), rotation("A"))
    hour = timedelta(hours=1)
    answers = iter([Response(429, retry_after=hour), Response(200)])
    world.receiver.answer = lambda: next(answers)
    assert await world.now() == 2
    held = "busy" if (await world.deliveries("busy"))[0].status == "pending" else "calm"
    world.receiver.answer = lambda: Response(200)
    world.clock.advance(timedelta(minutes=10))
    await world.tell(rotation("B"))
    assert await world.now() == 1, "the one that asked for nothing"
    world.clock.advance(hour)
    assert await world.now() == 2
    assert {d.status for d in await world.deliveries(held)} == {"delivered"}


async def test_a_slow_receiver_holds_up_only_itself(world: World) -> None:
    class Slow:
        def __init__(self) -> None:
            self.free, self.urls = asyncio.Event(), list[str]()

        async def send(self, url: str, headers: Any, body: bytes) -> Response:
            self.urls.append(url)
            if "slow" in url:
                await self.free.wait()
            return Response(200)

    slow = world.deliverer.sender = Slow()
    await world.tell(webhook("slow", url=f"{URL}/slow"), webhook("fast"), *[rotation(f"V{n}") for n in range(30)])
    async with asyncio.timeout(30):
        while {d.status for d in await world.deliveries("fast")} != {"delivered"}:
            await world.deliverer.claim()
            await asyncio.sleep(0.01)
    assert slow.urls.count(f"{URL}/slow") == PER_WEBHOOK
    slow.free.set()
    await world.now()
    await world.deliverer.idle()
    await world.now()
    assert {d.status for d in await world.deliveries("slow")} == {"delivered"}


async def test_two_instances_never_make_the_same_attempt(world: World) -> None:
    await world.tell(webhook("one"), *[rotation(f"V{n}") for n in range(40)])
    lost_at = START + DAY
    takes = [world.store.claim(START, lost_at, {}, 100, 7) for _ in range(8)]
    claimed = [delivery.id for taken in await asyncio.gather(*takes) for delivery in taken]
    assert len(claimed) == len(set(claimed))
    rest = [d.id for d in await world.store.claim(START, lost_at, {}, 100, 100)]
    assert len({*claimed, *rest}) == 40


async def test_an_attempt_whose_process_died_is_made_again_and_a_late_answer_changes_nothing(world: World) -> None:
    await world.tell(webhook("one"), rotation())
    (lost,) = await world.store.claim(START, START + LEASE_MARGIN, {}, 8, 8)
    assert await world.now() == 0
    world.clock.advance(LEASE_MARGIN)
    assert await world.now() == 1
    await world.store.complete(lost, Response(500), DELIVERED_LATE, world.clock.now())
    (delivery,) = await world.deliveries("one")
    assert (delivery.status, delivery.attempts, delivery.answered) == ("delivered", 2, 200)


async def test_what_goes_wrong_inside_is_no_attempt(world: World) -> None:
    await world.tell(webhook("one"), rotation())
    world.events.away = True
    assert await world.now() == 1
    (waiting,) = await world.deliveries("one")
    assert (waiting.status, waiting.attempts) == ("pending", 0)
    world.events.away = False
    world.signatures.error = KtError("unavailable", "The keys service is not running.")
    world.clock.advance(timedelta(seconds=5))
    assert await world.now() == 1
    world.signatures.error = KtError("undecryptable", "The webhook's secret can't be opened.")
    world.clock.advance(timedelta(seconds=5))
    assert await world.now() == 1
    (tried,) = await world.deliveries("one")
    assert (tried.status, tried.attempts, tried.reason) == ("pending", 1, "undecryptable")
    assert world.receiver.got == []


@pytest.mark.parametrize(("body", "reason"), [(None, "expired"), (b"garbage", "unreadable")])
async def test_an_event_that_is_gone_or_is_none_fails(world: World, body: bytes | None, reason: str) -> None:
    await world.tell(webhook("one"), rotation())
    world.events.body_ = body
    assert await world.now() == 1
    (failed,) = await world.deliveries("one")
    assert (failed.status, failed.reason) == ("failed", reason)


async def test_outcomes_are_recorded_once_whoever_dies_when(world: World) -> None:
    await world.tell(webhook("one"), *[rotation(f"V{n}") for n in range(5)])
    await world.now()
    outcomes = await unrecorded(world)
    last = 0
    for outcome in (outcomes[1], outcomes[0], outcomes[3]):  # another order than ours, and never written down
        last = await world.record.record("default", "one", outcome, last)
    while await world.store.record_next(world.record):
        pass
    assert sorted(o.id for o in world.record.outcomes) == sorted(o.id for o in outcomes)
    assert await unrecorded(world) == []


async def test_a_record_that_has_expired_begins_anew(world: World) -> None:
    await world.tell(webhook("one"), rotation("A"))
    await world.now()
    assert await world.store.record_next(world.record)
    world.record.events.clear()
    await world.tell(rotation("B"))
    await world.now()
    while await world.store.record_next(world.record) or await unrecorded(world):
        pass
    assert len(world.record.outcomes) == 2


async def unrecorded(world: World) -> list[Any]:
    from services.webhooks.adapters import sql  # noqa: PLC0415 - for looking
    from services.webhooks.adapters.rows import outcome_of  # noqa: PLC0415 - for looking

    async with world.pool.connection() as connection:
        rows = await (await connection.execute(sql.UNRECORDED, ("one", 100))).fetchall()
    return [outcome_of(row) for row in rows]


class Nobody:
    async def retire_secrets(self, due: Any) -> None: ...

    async def disable(self, due: Any, reason: str) -> None: ...


async def test_what_waits_too_long_is_given_up_and_what_ended_long_ago_is_forgotten(world: World) -> None:
    upkeep = Upkeep(world.store, Nobody(), world.clock, timedelta(days=30))
    await world.tell(webhook("one"), rotation("A"))
    world.clock.advance(EXPIRES_AFTER + timedelta(seconds=1))
    await upkeep.sweep()
    assert [(d.status, d.reason) for d in await world.deliveries("one")] == [("failed", "expired")]
    world.clock.advance(timedelta(days=31))
    await upkeep.sweep()
    assert len(await world.deliveries("one")) == 1, "not before it is on record"
    await world.store.record_next(world.record)
    await upkeep.sweep()
    assert await world.deliveries("one") == []


async def test_a_deleted_webhook_leaves_nothing_behind_once_its_outcomes_are_on_record(world: World) -> None:
    upkeep = Upkeep(world.store, Nobody(), world.clock, timedelta(days=30))
    await world.tell(webhook("one"), rotation("A"), of(WebhookDeleted(), "one"))
    await upkeep.sweep()
    assert await world.deliveries("one") != []
    await world.store.record_next(world.record)
    await upkeep.sweep()
    async with world.pool.connection() as connection:
        left = "SELECT (SELECT count(*) FROM webhooks), (SELECT count(*) FROM deliveries), count(*) FROM outcome_logs"
        assert await (await connection.execute(left)).fetchone() == (0, 0, 0)


async def test_a_projection_made_anew_tells_nobody_of_what_happened_long_ago(world: World) -> None:
    old = [world.message(*webhook("one")), world.message(*rotation("A"))]
    world.clock.advance(EXPIRES_AFTER + timedelta(hours=1))
    await world.project([*old, world.message(*rotation("B"))])
    assert len(await world.deliveries("one")) == 1


async def test_events_that_are_foreign_or_do_not_follow_change_nothing(world: World) -> None:
    created = world.message(*webhook("one"))
    elsewhere = created._replace(subject=created.subject.replace("one", "two"), sequence=2)
    again = world.message(*webhook("one", url="https://evil.example.com/"))
    garbage = created._replace(body=b"garbage", sequence=4)
    other_org = world.message(*rotation("A"), org="acme")._replace(subject="kt.evt.v1.default.config_variable.A")
    await world.project([created, elsewhere, again, garbage, other_org, world.message(*rotation("B"))])
    found = await world.store.webhook("default", "one")
    assert found is not None
    assert found.url == URL
    assert found.secrets == (SigningSecret("one-secret", "d"),)
    assert await world.store.webhook("default", "two") is None
    assert len(await world.deliveries("one")) == 1

"""Refused tokens on record: each sort at once and then in sums, however many there are."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from libs.common.auth.refusal import Reason, RefusedToken, refused
from libs.common.auth.tokens import Principal
from libs.common.events import Origin
from services.api.application.refusals import BURST, MAX_SORTS, PER_MINUTE, REPEAT_S, Refusals
from tests.unit.api.system import AccessRecords, CountingIds, FixedClock, System, token_for

PATH = "/v1/config-variables/A"
FORGED = token_for("admin").rpartition(".")[0] + "." + token_for("auditor").rpartition(".")[2]


class World:
    def __init__(self) -> None:
        self.now = 0.0
        self.records = AccessRecords()
        self.refusals = Refusals(self.records, FixedClock(), CountingIds(), lambda: self.now)

    def note(self, error: RefusedToken, address: str = "192.0.2.1") -> None:
        self.refusals.note(error, Origin("r1", address))

    async def later(self, seconds: float = 0.0) -> list[dict[str, Any]]:
        """What is put on record after so long."""
        self.now += seconds
        before = len(self.records.documents)
        await self.refusals.write_due()
        return self.records.documents[before:]


def unknown(reason: Reason = Reason.INVALID_SIGNATURE) -> RefusedToken:
    return refused(reason, "No.")


def known(token_id: str = "t1", org: str = "acme") -> RefusedToken:
    return refused(Reason.REVOKED, "No.", Principal("alice", org, "operator", frozenset(), token_id))


def counts(documents: list[dict[str, Any]]) -> list[int]:
    return [document["data"]["detail"]["count"] for document in documents]


async def test_a_refused_token_is_on_record_with_whose_it_is_and_why() -> None:
    world = World()
    world.note(known())
    (document,) = await world.later()
    data = document["data"]
    assert (document["type"], document["org"]) == ("kt.token.refused.v1", "acme")
    assert document["stored_on"] == "kt.access.v1.acme.token.t1"
    assert (data["category"], data["outcome"]) == (
        "access_management",
        {"result": "failure", "reason": "revoked"},
    )
    assert data["actor"] == {"type": "operator", "id": "alice"}
    assert data["resource"] == {"type": "token", "id": "t1"}
    assert data["request"] == {"id": "r1", "source_ip": "192.0.2.1"}
    assert data["detail"]["shown_to"] == "api"


async def test_what_follows_of_a_sort_is_one_event_a_minute_with_how_many_they_were() -> None:
    world = World()
    world.note(known())
    assert counts(await world.later()) == [1]
    for _ in range(500):
        world.note(known())
    assert await world.later(REPEAT_S - 1) == []
    assert counts(await world.later(1)) == [500]
    assert await world.later(REPEAT_S) == []


async def test_sorts_are_told_apart_by_reason_address_and_token() -> None:
    world = World()
    for error, address in (
        (known(), "192.0.2.1"),
        (known("t2"), "192.0.2.1"),
        (known(), "192.0.2.2"),
        (unknown(), "192.0.2.1"),
        (unknown(Reason.MALFORMED), "192.0.2.1"),
        (unknown(), "192.0.2.1"),
    ):
        world.note(error, address)
    assert sorted(counts(await world.later())) == [1, 1, 1, 1, 2]


async def test_a_flood_from_everywhere_is_counted_in_full_and_written_in_few_events() -> None:
    world = World()
    documents: list[dict[str, Any]] = []
    for minute in range(60):
        for number in range(2000):
            world.note(unknown(), f"2001:db8::{minute:x}:{number:x}")
        documents += await world.later(60)
    assert len(documents) <= BURST + 60 * PER_MINUTE
    for _ in range(MAX_SORTS):
        documents += await world.later(60)
    assert sum(counts(documents)) == 60 * 2000
    assert await world.later(3600) == []


async def test_a_flood_hides_no_token_with_a_good_signature() -> None:
    world = World()
    for number in range(2000):
        world.note(unknown(), f"2001:db8::{number:x}")
    world.note(known())
    assert "t1" in [document["data"]["resource"]["id"] for document in await world.later()]


async def test_what_can_not_be_written_is_written_later_and_counted_once() -> None:
    world = World()
    world.note(known())
    world.records.down = True
    assert await world.later() == []
    world.note(known())
    world.records.down = False
    assert counts(await world.later(1)) == [2]
    assert await world.later(REPEAT_S) == []


async def test_a_stop_writes_what_is_left() -> None:
    world = World()
    following = asyncio.create_task(world.refusals.follow())
    await asyncio.sleep(0)
    world.note(known())
    following.cancel()
    await asyncio.wait([following])
    assert counts(world.records.documents) == [1]


@pytest.mark.parametrize(
    ("token", "expected"),
    [
        (token_for("operator", ttl=timedelta(0), org="acme"), ("expired", "operator-1", "jti-1", "acme")),
        (FORGED, ("invalid_signature", "", "unknown", "default")),
        ("sk-proj-abcdefghijklmnopqrstuvwxyz", ("malformed", "", "unknown", "default")),
        (token_for("admin", org="Acme Inc"), ("invalid_claims", "", "unknown", "default")),
    ],
)
async def test_a_request_with_a_bad_token_is_put_on_record_without_what_was_sent(
    system: System, token: str, expected: tuple[str, ...]
) -> None:
    assert (await system.ask("GET", PATH, token=token)).status == 401
    await system.door.refusals.write_due()
    (document,) = system.records.documents
    data = document["data"]
    told = (data["outcome"]["reason"], data["actor"]["id"], data["resource"]["id"], document["org"])
    assert told == expected
    assert token not in str(document)


async def test_no_token_at_all_is_no_refused_token(system: System) -> None:
    assert (await system.ask("GET", PATH, token="")).status == 401
    assert (await system.ask("GET", PATH, headers={"Authorization": "Basic dXNlcjpwYXNz"})).status == 401
    await system.door.refusals.write_due()
    assert system.records.documents == []


async def test_a_token_that_was_shown_to_a_gateway_says_so(system: System) -> None:
    gateway = token_for("gateway", sub="edge-1", org="acme")
    answer = await system.ask("POST", "/v1/tokens/introspect", {"token": "nonsense"}, token=gateway)
    assert answer.json()["active"] is False
    await system.door.refusals.write_due()
    (document,) = system.records.documents
    assert (document["org"], document["data"]["detail"]["shown_to"]) == ("acme", "gateway/edge-1")

"""Reading the log is on record: once for a query, before anything is handed out, and without keys."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from urllib.parse import quote

import pytest

from libs.common.errors import KtError
from libs.common.protocol import audit
from services.api.application.audit_reads import MAX_REMEMBERED, WITHHELD, shown
from tests.unit.api.system import NOW, System, token_for

READ = "kt.audit.read.v1"
FILTER = "category=secret_management AND resource=OPENAI_API_KEY"
QUERY = f"/v1/events?filter={quote(FILTER)}"


@pytest.fixture
def system() -> System:
    made = System()
    made.bus.on(audit.LIST, lambda _: audit.EventPage(items=["{}"], positions=[("KT_EVENTS", 1)], next_cursor="c"))
    return made


def details(system: System) -> list[dict[str, Any]]:
    return [document["data"]["detail"] for document in system.access.documents(READ)]


async def test_a_query_is_on_record_with_who_asked_and_what_for(system: System) -> None:
    headers = {"User-Agent": "kt/0.1", "X-Request-Id": "r-1"}
    await system.ask("GET", QUERY, token=token_for("auditor"), headers=headers)
    (document,) = system.access.documents(READ)
    assert document["data"]["actor"] == {"type": "auditor", "id": "auditor-1"}
    assert document["data"]["request"] == {"id": "r-1", "source_ip": "192.0.2.7", "user_agent": "kt/0.1"}
    assert document["data"]["detail"] == {"operation": "list", "filter": FILTER, "continued": False}
    assert (document["data"]["category"], document["data"]["action"]) == ("audit", "read")
    assert system.access.subjects == ["kt.access.v1.default.audit_log.reads"]


async def test_further_pages_of_a_query_are_the_same_reading(system: System) -> None:
    await system.ask("GET", QUERY)
    for cursor in ("c", "d", "e"):
        assert (await system.ask("GET", f"{QUERY}&cursor={cursor}")).status == 200
    assert len(details(system)) == 1
    await system.ask("GET", QUERY)
    assert len(details(system)) == 2


async def test_following_is_on_record_again_each_hour(system: System) -> None:
    await system.ask("GET", "/v1/events?follow=true")
    for minutes in range(0, 150, 10):
        system.clock.moment = NOW + timedelta(minutes=minutes)
        await system.ask("GET", "/v1/events?follow=true&cursor=c")
    assert details(system) == [
        {"operation": "follow", "filter": "", "continued": False},
        {"operation": "follow", "filter": "", "continued": True},
        {"operation": "follow", "filter": "", "continued": True},
    ]


@pytest.mark.parametrize(
    ("target", "token"),
    [
        (f"{QUERY}&cursor=c", token_for("auditor")),
        (f"{QUERY}&cursor=c", token_for("admin", jti="another")),
        (f"{QUERY}&cursor=c", token_for("admin", sub="another")),
        (f"{QUERY}&cursor=c&follow=true", None),
        ("/v1/events?cursor=c", None),
    ],
    ids=["another role", "another token", "another person", "following", "another filter"],
)
async def test_a_cursor_that_was_made_up_hides_no_reading(system: System, target: str, token: str | None) -> None:
    await system.ask("GET", QUERY)
    await system.ask("GET", target, token=token)
    assert [detail["continued"] for detail in details(system)] == [False, True]


@pytest.mark.parametrize("name", ["019aaf9c-6b1e-7c3a-9a53-0d7d3a2f4b11", "KT_ACCESS:17"])
async def test_one_event_with_its_proof_is_a_reading_too(system: System, name: str) -> None:
    checkpoint = audit.CheckpointView(stream="KT_ACCESS", size=20, root=b"r", note="n", signed_at="")
    proof = audit.Proof(stream="KT_ACCESS", sequence=17, body=b"{}", path=[], checkpoint=checkpoint)
    system.bus.on(audit.PROVE, lambda _: proof)
    for _ in range(2):
        assert (await system.ask("GET", f"/v1/events/{name}/proof")).status == 200
    assert details(system) == [{"operation": "prove", "filter": name, "continued": False}] * 2
    system.access.away = True
    answer = await system.ask("GET", f"/v1/events/{name}/proof")
    assert (answer.status, b"KT_ACCESS" in answer.body) == (503, False)


async def test_an_event_that_does_not_exist_was_not_read(system: System) -> None:
    system.bus.fails(audit.PROVE, KtError("not_found", "There is no such event."))
    assert (await system.ask("GET", "/v1/events/sk-not-an-id/proof")).status == 404
    assert details(system) == []


async def test_nothing_is_handed_out_when_the_reading_can_not_be_put_on_record(system: System) -> None:
    system.access.away = True
    for target in (QUERY, f"{QUERY}&cursor=c"):
        answer = await system.ask("GET", target)
        assert (answer.status, answer.code) == (503, "unavailable")
        assert b"KT_EVENTS" not in answer.body
    system.access.away = False
    await system.ask("GET", f"{QUERY}&cursor=c")
    assert len(details(system)) == 1


async def test_what_was_not_read_is_not_on_record(system: System) -> None:
    system.bus.fails(audit.LIST, KtError("invalid_filter", "There is no such key."))
    assert (await system.ask("GET", "/v1/events?filter=a%3Db")).status == 422
    assert (await system.ask("GET", QUERY, token=token_for("machine"))).status == 403
    assert details(system) == []


async def test_what_is_remembered_of_queries_is_bounded(system: System) -> None:
    for number in range(MAX_REMEMBERED + 1):
        await system.ask("GET", f"/v1/events?filter=resource%3DR{number}")
    await system.ask("GET", "/v1/events?filter=resource%3DR0&cursor=c")
    assert details(system)[-1] == {"operation": "list", "filter": "resource=R0", "continued": True}


@pytest.mark.parametrize(
    ("text", "as_shown"),
    [
        ("", ""),
        ('actor!=oncall AND resource="OPENAI_API_KEY"', 'actor!=oncall AND resource="OPENAI_API_KEY"'),
        ("time>=2026-11-23T07:39:03Z AND type=kt.token.*", "time>=2026-11-23T07:39:03Z AND type=kt.token.*"),
        ("resource=sk-proj-A1b2C3d4A1b2C3d4A1b2C3d4A1b2C3d4", f"resource={WITHHELD}"),
        (
            'resource="sk-proj-A1b2C3d4A1b2C3d4A1b2C3d4A1b2C3d4" AND action=read',
            f"resource={WITHHELD} AND action=read",
        ),
        ('resource="two words of a phrase"', f"resource={WITHHELD}"),
        (r'resource="with \" a quote and more"', f"resource={WITHHELD}"),
        ("resource=schlüssel/+&", f"resource={WITHHELD}"),
    ],
)
def test_a_filter_is_shown_without_what_may_be_a_key(text: str, as_shown: str) -> None:
    assert shown(text) == as_shown

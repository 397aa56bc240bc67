"""/v1/events/retention, /v1/events/holds and /v1/events/rebuild: who may ask for what, and what is handed on."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from libs.common.errors import KtError
from libs.common.protocol import audit, command
from tests.unit.api.system import System, token_for

MOMENT = datetime(2026, 3, 1, tzinfo=UTC)
HOLD = audit.HoldView(
    name="case-17", begins=MOMENT, ends=None, reason="Inquiry 17", added_at=MOMENT, added_by="admin/alice"
)
KEPT = audit.KeepingReply(
    days=400,
    policy_days=730,
    holds=[HOLD],
    months=[audit.MonthView(month="2026-03", entries=12, goes_at=MOMENT, held_by=["case-17"])],
)
REBUILD = audit.RebuildView(
    id="r1",
    phase="replaying",
    requested_by="admin/alice",
    requested_at=MOMENT,
    replayed=5,
    total=9,
    trees=[],
    detail="",
    ended_at=None,
)


async def test_how_long_the_log_is_kept(system: System) -> None:
    system.bus.on(audit.KEEPING, lambda _: KEPT)

    answer = await system.ask("GET", "/v1/events/retention")

    assert answer.json() == {
        "days": 400,
        "policy_days": 730,
        "months": [
            {"month": "2026-03", "entries": 12, "goes_at": "2026-03-01T00:00:00Z", "held_by": ["case-17"]},
        ],
    }


async def test_the_holds(system: System) -> None:
    system.bus.on(audit.KEEPING, lambda _: KEPT)

    answer = await system.ask("GET", "/v1/events/holds")

    assert [(hold["name"], hold["ends"], hold["added_by"]) for hold in answer.json()["items"]] == [
        ("case-17", None, "admin/alice")
    ]


@pytest.mark.parametrize("understood", [False, True])
async def test_setting_the_retention_goes_to_the_command_service(system: System, understood: bool) -> None:
    system.bus.on(command.AUDIT_RETENTION, lambda _: command.Recorded(sequence=7))

    answer = await system.ask("PUT", "/v1/events/retention", {"days": 30, "i_understand": understood})

    assert answer.status == 204
    (asked,) = system.bus.requests(command.AUDIT_RETENTION)
    assert (asked.days, asked.understood, asked.caller.org) == (30, understood, "default")


async def test_times_of_a_hold_are_turned_into_utc(system: System) -> None:
    system.bus.on(command.AUDIT_ADD_HOLD, lambda _: command.Recorded(sequence=7))
    body = {"name": "case-17", "begins": "2026-01-01T02:00:00+02:00", "reason": "Inquiry 17"}

    answer = await system.ask("POST", "/v1/events/holds", body)

    assert answer.status == 204
    (asked,) = system.bus.requests(command.AUDIT_ADD_HOLD)
    assert (asked.hold, asked.begins, asked.ends) == ("case-17", datetime(2026, 1, 1, tzinfo=UTC), None)


async def test_removing_a_hold_takes_its_reason_along(system: System) -> None:
    system.bus.on(command.AUDIT_REMOVE_HOLD, lambda _: command.Recorded(sequence=8))

    answer = await system.ask("DELETE", "/v1/events/holds/case-17?reason=closed")

    assert answer.status == 204
    (asked,) = system.bus.requests(command.AUDIT_REMOVE_HOLD)
    assert (asked.hold, asked.reason) == ("case-17", "closed")


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PUT", "/v1/events/retention", {"days": 0}),
        ("PUT", "/v1/events/retention", {"days": "many"}),
        ("PUT", "/v1/events/retention", {"days": 400, "months": 3}),
        ("POST", "/v1/events/holds", {"name": "a/b", "begins": "2026-01-01T00:00:00Z", "reason": ""}),
        ("POST", "/v1/events/holds", {"name": "a", "begins": "2026-02-30T00:00:00Z", "reason": ""}),
        ("POST", "/v1/events/holds", {"name": "a", "begins": "2026-01-01T00:00:00Z", "reason": "x" * 1025}),
    ],
)
async def test_what_is_not_understood_is_refused(system: System, method: str, path: str, body: Any) -> None:
    answer = await system.ask(method, path, body)

    assert answer.status == 422
    assert not system.bus.asked


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PUT", "/v1/events/retention", {"days": 400}),
        ("POST", "/v1/events/holds", {"name": "a", "begins": "2026-01-01T00:00:00Z", "reason": ""}),
        ("DELETE", "/v1/events/holds/a", None),
        ("POST", "/v1/events/rebuild", None),
    ],
)
@pytest.mark.parametrize("role", ["operator", "auditor", "gateway", "machine"])
async def test_only_an_administrator_changes_how_the_log_is_kept(
    system: System, role: str, method: str, path: str, body: Any
) -> None:
    answer = await system.ask(method, path, body, token=token_for(role))

    assert (answer.status, answer.code) == (403, "forbidden")
    assert not system.bus.asked


async def test_a_rebuild_is_asked_for_with_who_wants_it(system: System) -> None:
    system.bus.on(audit.REBUILD, lambda _: REBUILD)

    answer = await system.ask("POST", "/v1/events/rebuild")

    assert (answer.status, answer.json()["phase"]) == (202, "replaying")
    (asked,) = system.bus.requests(audit.REBUILD)
    assert asked.caller.actor_type == "admin"


async def test_how_far_it_is(system: System) -> None:
    system.bus.on(audit.REBUILD_STATUS, lambda _: REBUILD)

    answer = await system.ask("GET", "/v1/events/rebuild", token=token_for("auditor"))

    assert (answer.json()["replayed"], answer.json()["total"]) == (5, 9)


async def test_a_log_that_was_never_rebuilt(system: System) -> None:
    system.bus.fails(audit.REBUILD_STATUS, KtError("not_found", "The log was never rebuilt."))

    assert (await system.ask("GET", "/v1/events/rebuild")).status == 404

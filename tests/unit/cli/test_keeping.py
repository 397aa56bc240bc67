"""``kt events retention``, ``hold`` and ``rebuild``."""

from __future__ import annotations

import json
from typing import Any

from tests.unit.cli.conftest import Kt
from tests.unit.cli.fake_api import FakeApi, Reply

RETENTION = "/v1/events/retention"
HOLDS = "/v1/events/holds"
REBUILD = "/v1/events/rebuild"


def _rebuild(phase: str, replayed: int = 0, detail: str = "") -> Reply:
    trees: list[Any] = [{"stream": "KT_EVENTS", "size": 9, "root": "c5" * 32}] if phase == "completed" else []
    document = {"id": "r1", "phase": phase, "replayed": replayed, "total": 9, "trees": trees, "detail": detail}
    return Reply(202 if phase == "waiting" else 200, document)


def test_the_months_are_listed_with_when_they_may_go(kt: Kt, api: FakeApi) -> None:
    month = {"month": "2026-03", "entries": 1234, "goes_at": "2027-04-02T00:00:00Z", "held_by": ["case-17"]}
    api.on("GET", RETENTION, Reply(200, {"days": 366, "policy_days": 730, "months": [month]}))
    ended = kt("events", "retention", "show")
    said, header, row = ended.out.splitlines()
    assert said == "Entries are kept for at least 730 days (a gateway's policy asks for 730)."
    assert header.split() == ["MONTH", "ENTRIES", "MAY", "GO", "HELD", "BY"]
    assert row.split() == ["2026-03", "1,234", "2027-04-02", "00:00:00Z", "case-17"]


def test_less_than_a_year_has_to_be_meant(kt: Kt, api: FakeApi) -> None:
    api.on("PUT", RETENTION, Reply(204), Reply(204))
    kt("events", "retention", "set", "730")
    kt("events", "retention", "set", "30", "--i-understand")
    assert [asked.body for asked in api.asked] == [
        {"days": 730, "i_understand": False},
        {"days": 30, "i_understand": True},
    ]


def test_a_hold_has_moments_in_utc(kt: Kt, api: FakeApi) -> None:
    api.on("POST", HOLDS, Reply(204))
    ended = kt(
        "events", "hold", "add", "case-17", "--from", "2026-01-01", "--to", "2026-04-01", "--reason", "Inquiry"
    )
    assert api.asked[0].body == {
        "name": "case-17",
        "begins": "2026-01-01T00:00:00Z",
        "ends": "2026-04-01T00:00:00Z",
        "reason": "Inquiry",
    }
    assert ended.err == "held: case-17\n"


def test_a_hold_without_end_is_shown_as_open(kt: Kt, api: FakeApi) -> None:
    hold = {
        "name": "case-17",
        "begins": "2026-01-01T00:00:00Z",
        "ends": None,
        "reason": "Inquiry",
        "added_at": "2026-05-01T08:00:00Z",
        "added_by": "admin/alice",
    }
    api.on("GET", HOLDS, Reply(200, {"items": [hold]}))
    assert "(open)" in kt("events", "hold", "list").out


def test_no_holds_are_told_apart_from_a_table(kt: Kt, api: FakeApi) -> None:
    api.on("GET", HOLDS, Reply(200, {"items": []}))
    ended = kt("events", "hold", "list")
    assert (ended.out, ended.err) == ("", "There are no holds.\n")


def test_a_hold_is_removed_with_a_reason(kt: Kt, api: FakeApi) -> None:
    api.on("DELETE", f"{HOLDS}/case-17", Reply(204))
    kt("events", "hold", "remove", "case-17", "--reason", "closed")
    assert api.asked[0].query == {"reason": "closed"}


def test_a_rebuild_is_followed_to_its_end(kt: Kt, api: FakeApi) -> None:
    api.on("POST", REBUILD, _rebuild("waiting"))
    api.on("GET", REBUILD, _rebuild("replaying", 4), _rebuild("comparing", 9), _rebuild("completed", 9))
    ended = kt("events", "rebuild")
    assert ended.out.splitlines() == [
        "rebuilt: 9 entries",
        f"reproduced: KT_EVENTS, 9 entries, root {'c5' * 32}",
    ]
    assert [line.split()[0] for line in ended.err.splitlines()] == ["waiting", "replaying", "comparing"]


def test_a_rebuild_that_failed_is_an_error_that_says_why(kt: Kt, api: FakeApi) -> None:
    api.on("POST", REBUILD, _rebuild("waiting"))
    api.on("GET", REBUILD, _rebuild("failed", 9, "KT_EVENTS does not give the root that was signed."))
    ended = kt("events", "rebuild")
    assert ended.code != 0
    assert "KT_EVENTS does not give the root that was signed." in ended.err
    assert "log_damaged" in ended.err


def test_a_rebuild_need_not_be_waited_for(kt: Kt, api: FakeApi) -> None:
    api.on("POST", REBUILD, _rebuild("replaying", 4))
    assert kt("events", "rebuild", "--no-wait").err == "replaying: 4 of 9 entries\n"


def test_json_is_the_document(kt: Kt, api: FakeApi) -> None:
    api.on("POST", REBUILD, _rebuild("waiting"))
    api.on("GET", REBUILD, _rebuild("completed", 9))
    assert json.loads(kt("events", "rebuild", "-o", "json").out)["phase"] == "completed"

"""``kt gateway check-log``: a record that is missing is found, and named by its number."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.cli.gateway_log import NO_END, RUNNING, WHOLE, check
from tests.unit.cli.conftest import Kt
from tests.unit.cli.fake_api import Asked, FakeApi, Reply


def record(number: int, what: str, **detail: Any) -> dict[str, Any]:
    return {
        "type": f"kt.gateway.{what}.v1",
        "time": f"2026-11-23T07:39:{number:02}.000000Z",
        "data": {"detail": {"epoch": "e", "sequence": number, **detail}},
    }


def run_of(epoch: str = "e", previous: str = "") -> list[dict[str, Any]]:
    """A whole one, newest first: two requests served, one failed, seven refused, three lost."""
    records = [
        record(1, "access_log_started", previous_epoch=previous),
        record(2, "request_served"),
        record(3, "request_failed"),
        record(4, "requests_refused", count=7),
        record(5, "requests_unrecorded", count=3),
        record(6, "request_served"),
        record(7, "access_log_ended", served=2, failed=1, refused=7, unrecorded=3),
    ]
    for item in records:
        item["data"]["detail"]["epoch"] = epoch
    return records[::-1]


def test_a_run_with_every_record_is_whole() -> None:
    run = check("e", run_of(), newest=False)
    assert (run.state, run.problem, run.records, run.began) == (WHOLE, "", 7, "2026-11-23T07:39:01.000000Z")
    assert run.totals == {"served": 2, "failed": 1, "refused": 7, "unrecorded": 3}


@pytest.mark.parametrize(("newest", "state"), [(True, RUNNING), (False, NO_END)])
def test_a_run_without_an_end_goes_on_or_was_cut_off_and_has_no_gap(newest: bool, state: str) -> None:
    run = check("e", run_of()[1:], newest=newest)
    assert (run.state, run.problem) == (state, "")


@given(st.sets(st.integers(1, 6), min_size=1, max_size=6))
def test_whichever_records_are_missing_it_is_found(missing: set[int]) -> None:
    """The last one can't be missed by its number: its run has no end then."""
    left = [item for item in run_of() if item["data"]["detail"]["sequence"] not in missing]
    assert "missing" in check("e", left, newest=False).problem


@given(st.permutations(range(7)))
def test_another_order_is_found(order: list[int]) -> None:
    records = run_of()
    run = check("e", [records[place] for place in order], newest=False)
    assert bool(run.problem) == (order != list(range(7)))


@pytest.mark.parametrize(
    ("missing", "problem"), [({3}, "record 3 is missing"), ({1, 2}, "records 1 to 2 are missing")]
)
def test_what_is_missing_is_named(missing: set[int], problem: str) -> None:
    left = [item for item in run_of() if item["data"]["detail"]["sequence"] not in missing]
    assert check("e", left, newest=False).problem == problem


def test_a_record_in_the_place_of_another_is_found_by_the_totals() -> None:
    records = run_of()
    records[1]["type"] = "kt.gateway.request_failed.v1"
    problem = check("e", records, newest=False).problem
    assert problem == "its end says 2 served and 1 on record, 1 failed and 2 on record"


def answering(epochs: dict[str, list[dict[str, Any]]]) -> Reply:
    def answer(asked: Asked) -> Reply:
        filter_ = asked.query["filter"]
        if filter_.startswith("correlation="):
            items = epochs[filter_.removeprefix("correlation=")]
        else:
            items = [records[-1] for records in epochs.values()]
        return Reply(200, {"items": items, "positions": [], "next_cursor": None})

    return answer  # type: ignore[return-value]


def test_all_runs_are_checked_and_shown(kt: Kt, api: FakeApi) -> None:
    api.on("GET", "/v1/events", answering({"two": run_of("two", "one"), "one": run_of("one")}))
    ended = kt("gateway", "check-log", "--name", "edge")
    assert ended.code == 0
    assert [line.split()[0] for line in ended.out.splitlines()] == ["RUN", "two", "one"]
    assert ended.out.splitlines()[1].split()[-6:] == ["7", "2", "1", "7", "3", "whole"]
    assert api.asked[0].query["filter"] == "gateway=edge AND type=kt.gateway.access_log_started.v1"


def test_a_run_that_is_gone_as_a_whole_is_missed_by_the_next(kt: Kt, api: FakeApi) -> None:
    api.on("GET", "/v1/events", answering({"three": run_of("three", "two"), "one": run_of("one")}))
    ended = kt("gateway", "check-log", "-o", "json")
    assert ended.code == 1
    assert [(item["epoch"], item["state"]) for item in ended.json["items"]] == [
        ("three", "whole"),
        ("two", "nothing on record"),
        ("one", "whole"),
    ]
    assert ended.json["items"][1]["problem"] == "the run after it names it, and it is not in the log"


def test_a_gateway_without_records_is_no_failure(kt: Kt, api: FakeApi) -> None:
    api.on("GET", "/v1/events", answering({}))
    ended = kt("gateway", "check-log", "--name", "none")
    assert (ended.code, ended.out) == (0, "")
    assert "No requests through none are on record." in ended.err

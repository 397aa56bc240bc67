"""``kt legacy`` and what `kt doctor` says of older rows."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.cli.conftest import Kt
from tests.unit.cli.fake_api import FakeApi, Reply

VARIABLES = "/v1/config-variables"
ROWS: dict[str, Any] = {
    "configured": True,
    "table": "config_variables",
    "usable_rows": 4,
    "unusable_rows": 2,
    "unusable": [{"name": "a/b", "problem": "The name contains a slash at character 2."}],
    "waiting": 1,
    "may_delete": True,
}
TAKEN = Reply(200, {"name": "OLD", "version": 1, "sensitive": True})


def left(api: FakeApi, *names: str, **changes: Any) -> None:
    items = [{"name": name, "legacy": True, "version": 0, "updated_at": None} for name in names]
    api.on("GET", VARIABLES, Reply(200, {"items": items, "next_cursor": None}))
    api.on("GET", "/v1/legacy-rows", Reply(200, {**ROWS, **changes}))


def finding(kt: Kt) -> dict[str, str] | None:
    found = kt("doctor", "-o", "json").json["findings"]
    return next((f for f in found if f["check"] == "older rows"), None)


def test_status_counts_what_is_left_and_names_what_can_not_be_used(kt: Kt, api: FakeApi) -> None:
    left(api, "OLD", "OLDER")
    ended = kt("legacy", "status")
    words = [line.split()[:2] for line in ended.out.splitlines()]
    assert words[:2] == [["TABLE", "config_variables"], ["LEFT", "2"]]
    assert ["HIDDEN", "1"] in words
    assert ["WAITING", "1"] in words
    assert ended.out.splitlines()[-1].split(maxsplit=1) == ["a/b", "The name contains a slash at character 2."]
    assert "… and 1 more." in ended.err
    assert api.asked[-1].query["legacy"] == "true"
    assert kt("legacy", "status", "-o", "json").json["left"] == 2


def test_status_without_a_table_says_so(kt: Kt, api: FakeApi) -> None:
    api.on("GET", "/v1/legacy-rows", Reply(200, {**ROWS, "configured": False}))
    assert kt("legacy", "status").err == "No table of older plaintext rows is configured.\n"
    assert kt("legacy", "status", "-o", "json").json == {"configured": False}


def test_migrate_takes_over_every_row_and_goes_on_behind_a_failure(kt: Kt, api: FakeApi) -> None:
    left(api, "ONE", "TWO", "THREE")
    for name in ("ONE", "THREE"):
        api.on("POST", f"{VARIABLES}/{name}/take-over", TAKEN)
    api.problem("POST", f"{VARIABLES}/TWO/take-over", 404, "not_found", detail="It is gone.")
    ended = kt("legacy", "migrate", "--all", "--yes")
    assert ended.code == 1
    assert ended.out.splitlines()[:3] == ["OUTCOME     ROWS", "taken over     2", "failed         1"]
    assert ended.out.splitlines()[-1].split(maxsplit=1) == ["TWO", "It is gone."]
    assert all(a.headers["idempotency-key"] for a in api.asked if a.method == "POST")


def test_migrate_takes_over_the_rows_that_are_named(kt: Kt, api: FakeApi) -> None:
    api.on("POST", f"{VARIABLES}/ONE/take-over", TAKEN)
    ended = kt("legacy", "migrate", "ONE", "ONE", "--yes", "-o", "json")
    assert (ended.code, ended.json["counts"]) == (0, {"taken over": 1})
    assert [a.path for a in api.asked] == [f"{VARIABLES}/ONE/take-over"]


def test_migrate_stops_when_the_system_is_away(kt: Kt, api: FakeApi) -> None:
    left(api, "ONE", "TWO")
    api.problem("POST", f"{VARIABLES}/ONE/take-over", 403, "forbidden", detail="Not yours.")
    assert kt("legacy", "migrate", "--all", "--yes").code == 5


@pytest.mark.parametrize("words", [[], ["--all", "NAME"], ["NAME"], ["a/b", "--yes"]])
def test_migrate_changes_nothing_unless_it_is_clear_what_is_meant(kt: Kt, api: FakeApi, words: list[str]) -> None:
    ended = kt("legacy", "migrate", *words)
    assert (ended.code, [a for a in api.asked if a.method == "POST"]) == (2, [])


def test_migrate_with_nothing_left_is_done(kt: Kt, api: FakeApi) -> None:
    left(api)
    ended = kt("legacy", "migrate", "--all")
    assert (ended.code, ended.err) == (0, "No older plaintext row is left that could be taken over.\n")


def test_a_list_shows_which_variables_are_older_rows(kt: Kt, api: FakeApi) -> None:
    left(api, "OLD")
    assert kt("vars", "list", "--legacy").out.splitlines()[-1].split()[:4] == ["OLD", "plaintext", "no", "-"]
    assert api.asked[-1].query["legacy"] == "true"


@pytest.mark.parametrize(
    ("changes", "state", "said"),
    [
        ({}, "note", "1 plaintext rows are left in config_variables; 2 more can't be used, 2 are hidden"),
        ({"left": 0, "usable_rows": 0, "unusable_rows": 0, "waiting": 0}, "ok", "none is left"),
        ({"may_delete": False}, "wrong", "may not delete rows"),
    ],
)
def test_doctor_counts_what_is_left(kt: Kt, api: FakeApi, changes: dict[str, Any], state: str, said: str) -> None:
    api.on("GET", "/readyz", Reply(200, {"ready": True}))
    left(api, *["A"] * changes.pop("left", 1), **changes)
    found = finding(kt)
    assert found is not None
    assert (found["state"], said in found["detail"]) == (state, True)


def test_doctor_says_when_the_rows_can_not_be_looked_at(kt: Kt, api: FakeApi) -> None:
    api.on("GET", "/readyz", Reply(200, {"ready": True}))
    left(api)
    api.problem("GET", "/v1/legacy-rows", 503, "unavailable", detail="That database does not answer.")
    found = finding(kt)
    assert found is not None
    assert (found["state"], found["detail"]) == ("wrong", "That database does not answer.")


def test_doctor_is_silent_where_there_never_were_any(kt: Kt, api: FakeApi) -> None:
    api.on("GET", "/readyz", Reply(200, {"ready": True}))
    left(api, configured=False)
    assert finding(kt) is None

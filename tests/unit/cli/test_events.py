"""``kt events``: the log as a table, as JSON, and while it grows."""

from __future__ import annotations

import contextlib
import itertools
import json
from typing import Any

import pytest

from libs.cli.client import HttpClient
from libs.cli.commands.events import FASTEST_SECONDS, GIVE_UP_SECONDS, SLOWEST_SECONDS, follow
from libs.common.errors import KtError
from tests.unit.cli.conftest import Kt
from tests.unit.cli.fake_api import Asked, FakeApi, Reply

PATH = "/v1/events"


def _event(number: int, **data: Any) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "id": f"event-{number}",
        "type": "kt.config_variable.rotated.v1",
        "time": f"2026-11-23T07:39:{number:02}.192164Z",
        "data": {
            "category": "secret_management",
            "action": "rotate",
            "outcome": {"result": "success"},
            "actor": {"type": "admin", "id": "alice"},
            "resource": {"type": "config_variable", "id": "OPENAI_API_KEY", "version": number},
            "detail": {},
            **data,
        },
    }


def _page(numbers: range | list[int], cursor: str | None = None, **data: Any) -> Reply:
    return Reply(
        200,
        {
            "items": [_event(number, **data) for number in numbers],
            "positions": [{"stream": "KT_EVENTS", "sequence": number} for number in numbers],
            "next_cursor": cursor,
        },
    )


def test_the_line_of_the_documentation_shows_who_did_what_to_which_secret(kt: Kt, api: FakeApi) -> None:
    api.on("GET", PATH, _page([3]))
    ended = kt("events", "list", "--filter", "category=secret_management", "--limit", "50")
    assert api.asked[0].query == {"filter": "category=secret_management", "limit": "50"}
    header, row = ended.out.splitlines()
    assert header.split() == ["TIME", "ACTION", "OUTCOME", "RESOURCE", "VERSION", "ACTOR", "POSITION"]
    assert row.split("  ")[0] == "2026-11-23 07:39:03Z"
    assert row.split()[2:] == [
        "rotate",
        "success",
        "config_variable/OPENAI_API_KEY",
        "3",
        "admin/alice",
        "KT_EVENTS:3",
    ]


def test_a_failure_shows_its_reason(kt: Kt, api: FakeApi) -> None:
    api.on("GET", PATH, _page([1], action="resolve", outcome={"result": "failure", "reason": "not_permitted"}))
    assert "failure (not_permitted)" in kt("events", "list").out


def test_an_adoption_shows_the_version_taken_up(kt: Kt, api: FakeApi) -> None:
    resource, detail = {"type": "gateway", "id": "proxy"}, {"targets": [{"target": "openai", "version": 7}]}
    api.on("GET", PATH, _page([1], action="adopt", resource=resource, detail=detail))
    assert kt("events", "list").out.splitlines()[1].split()[-3] == "7"


def test_an_event_that_could_not_be_read_is_shown_as_such(kt: Kt, api: FakeApi) -> None:
    document = {"time": "2026-11-23T07:39:03Z", "data": {"outcome": {"result": ""}, "resource": {}, "actor": {}}}
    positions = [{"stream": "KT_EVENTS", "sequence": 1}]
    api.on("GET", PATH, Reply(200, {"items": [document], "positions": positions, "next_cursor": None}))
    ended = kt("events", "list")
    assert ended.code == 0
    assert "KT_EVENTS:1" in ended.out


def test_a_long_list_follows_pages_up_to_its_limit(kt: Kt, api: FakeApi) -> None:
    def page(asked: Asked) -> Reply:
        start, size = int(asked.query.get("cursor", "0")), int(asked.query["limit"])
        return _page(range(start, start + size), str(start + size))

    api.on("GET", PATH, page)
    ended = kt("events", "list", "--limit", "450")
    assert [asked.query["limit"] for asked in api.asked] == ["200", "200", "50"]
    assert len(ended.out.splitlines()) == 451
    assert "--cursor 450" in ended.err


def test_json_has_the_documents_with_their_positions_and_the_cursor(kt: Kt, api: FakeApi) -> None:
    api.on("GET", PATH, _page([2, 1], "older"))
    document = kt("events", "list", "--limit", "2", "-o", "json").json
    assert document["next_cursor"] == "older"
    assert document["items"][0] == {"stream": "KT_EVENTS", "sequence": 2, **_event(2)}


def test_an_empty_log_says_so_on_stderr(kt: Kt, api: FakeApi) -> None:
    api.on("GET", PATH, _page([]))
    ended = kt("events", "list", "--filter", "actor=nobody")
    assert (ended.code, ended.out, ended.err) == (0, "", "No events match.\n")


def test_a_filter_that_can_not_be_read_exits_with_usage(kt: Kt, api: FakeApi) -> None:
    api.problem(
        "GET", PATH, 422, "invalid_filter", detail="Expected a field at character 1.", hint="See the reference."
    )
    ended = kt("events", "list", "--filter", "x")
    assert ended.code == 2
    assert "character 1" in ended.err


class _Enough(Exception):
    pass


def _naps(most: int) -> tuple[list[float], Any]:
    naps: list[float] = []

    def sleep(seconds: float) -> None:
        naps.append(seconds)
        if len(naps) >= most:
            raise _Enough

    return naps, sleep


def _client(api: FakeApi) -> HttpClient:
    return HttpClient(api.url, None, attempts=1)


def _followed(api: FakeApi, filter_: str, lines: int, sleep: Any) -> list[int]:
    """The sequences seen until ``sleep`` has had enough."""
    seen: list[int] = []
    with contextlib.suppress(_Enough):
        for items in follow(_client(api), filter_, lines, sleep):
            seen += [item["sequence"] for item in items]
    return seen


def test_following_begins_with_the_last_events_and_goes_on_behind_them(api: FakeApi) -> None:
    api.on("GET", PATH, _page([1, 2], "c2"), _page([3], "c3"), _page([], "c3"))
    _, sleep = _naps(3)
    assert _followed(api, "actor=alice", 2, sleep) == [1, 2, 3]
    assert api.asked[0].query == {"filter": "actor=alice", "follow": "true", "limit": "2"}
    assert [asked.query.get("cursor") for asked in api.asked] == [None, "c2", "c3"]


def test_following_without_lines_shows_only_what_is_new(api: FakeApi) -> None:
    api.on("GET", PATH, _page([1], "c1"), _page([2], "c2"))
    _, sleep = _naps(2)
    assert _followed(api, "", 0, sleep) == [2]


def test_following_slows_down_while_nothing_happens_and_speeds_up_again(api: FakeApi) -> None:
    quiet = [_page([], f"c{number}") for number in range(12)]
    api.on("GET", PATH, *quiet, _page([1], "c"), _page([], "c"))
    naps, sleep = _naps(13)
    with pytest.raises(_Enough):
        list(follow(_client(api), "", 10, sleep))
    assert naps[0] == FASTEST_SECONDS
    assert naps[11] == SLOWEST_SECONDS
    assert naps[12] == FASTEST_SECONDS
    assert all(one <= other for one, other in itertools.pairwise(naps[:12]))


def test_following_survives_a_system_that_is_away_for_a_while(
    api: FakeApi, capsys: pytest.CaptureFixture[str]
) -> None:
    away = Reply(503, {"code": "unavailable", "detail": "audit does not answer."})
    api.on("GET", PATH, _page([1], "c1"), away, away, _page([2], "c2"))
    _, sleep = _naps(4)
    assert _followed(api, "", 10, sleep) == [1, 2]
    assert capsys.readouterr().err.count("Trying again") == 1


def test_following_gives_up_in_the_end(api: FakeApi) -> None:
    api.on("GET", PATH, _page([1], "c1"), Reply(503, {"code": "unavailable", "detail": "audit does not answer."}))
    naps: list[float] = []
    with pytest.raises(KtError, match="audit does not answer"):
        list(follow(_client(api), "", 10, naps.append))
    assert GIVE_UP_SECONDS <= sum(naps) <= GIVE_UP_SECONDS + 2 * SLOWEST_SECONDS


def test_following_ends_at_once_when_it_is_not_allowed(api: FakeApi) -> None:
    api.on("GET", PATH, _page([1], "c1"))
    followed = follow(_client(api), "", 10, lambda _: None)
    next(followed)
    api.problem("GET", PATH, 401, "unauthenticated", detail="The token has expired.")
    with pytest.raises(KtError, match="expired"):
        next(followed)


def test_tail_as_json_prints_one_event_a_line(kt: Kt, api: FakeApi) -> None:
    gone = Reply(401, {"code": "unauthenticated", "detail": "The token has expired."})
    api.on("GET", PATH, _page([1, 2], "c2"), gone)
    ended = kt("events", "tail", "-o", "json")
    assert ended.code == 5
    assert [json.loads(line)["sequence"] for line in ended.out.splitlines()] == [1, 2]

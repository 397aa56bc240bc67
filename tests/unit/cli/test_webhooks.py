"""``kt webhooks``: what is sent, what is shown, and where a secret goes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.cli.conftest import Kt
from tests.unit.cli.fake_api import FakeApi, Reply

PATH = "/v1/webhooks"
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
WEBHOOK = {
    "id": "w1",
    "url": "https://receiver.example.com/kt",
    "event_types": ["kt.config_variable.*"],
    "description": "on call",
    "enabled": True,
    "disabled_reason": None,
    "overlap_until": None,
    "sequence": 8,
    "created_at": "2026-11-01T00:00:00.000000Z",
    "updated_at": "2026-11-23T07:39:03.192164Z",
}
CHANGED = Reply(200, WEBHOOK, {"ETag": '"8"'})
MADE = Reply(201, {**WEBHOOK, "secret": SECRET}, {"ETag": '"8"'})
NOT_SHOWN = Reply(200, {**WEBHOOK, "secret": None}, {"ETag": '"8"'})
REPLAYED = Reply(200, {**WEBHOOK, "secret": None}, {"ETag": '"8"', "Idempotency-Replayed": "true"})
DELIVERY = {
    "id": "d1",
    "event_id": "e1",
    "event_type": "kt.config_variable.rotated.v1",
    "status": "failed",
    "attempts": 10,
    "answered": 500,
    "reason": "rejected",
    "created_at": "2026-11-23T07:39:03.192164Z",
    "next_attempt_at": None,
    "finished_at": "2026-11-26T11:14:08.192164Z",
}


def test_a_secret_that_was_made_goes_to_stdout_alone(kt: Kt, api: FakeApi) -> None:
    api.on("POST", PATH, MADE)
    ended = kt("webhooks", "create", "https://receiver.example.com/kt", "-d", "on call")
    assert (ended.code, ended.out) == (0, f"{SECRET}\n")
    assert ended.err.startswith("created w1  https://receiver.example.com/kt, enabled")
    assert SECRET not in ended.err
    (asked,) = api.asked
    assert asked.body == {
        "url": "https://receiver.example.com/kt",
        "event_types": ["*"],
        "description": "on call",
    }
    assert asked.headers["idempotency-key"]


def test_a_secret_is_given_by_file_and_never_as_an_argument(kt: Kt, api: FakeApi, tmp_path: Path) -> None:
    file = tmp_path / "receiver.secret"
    file.write_text(f"{SECRET}\n")
    api.on("POST", PATH, NOT_SHOWN)
    ended = kt("webhooks", "create", "https://a.example/", "-e", "kt.gateway.*", "--secret-file", str(file))
    assert (ended.code, ended.out) == (0, "")
    assert api.asked[0].body["secret"] == SECRET
    assert api.asked[0].body["event_types"] == ["kt.gateway.*"]
    assert kt("webhooks", "create", "https://a.example/", "--secret", SECRET).code == 2
    assert len(api.asked) == 1


def test_what_was_shown_before_is_not_shown_again_and_that_is_said(kt: Kt, api: FakeApi) -> None:
    api.on("POST", f"{PATH}/w1/rotate-secret", REPLAYED)
    ended = kt("webhooks", "rotate-secret", "w1", "--idempotency-key", "k")
    assert (ended.code, ended.out) == (0, "")
    assert "can't be shown again" in ended.err


@pytest.mark.parametrize(
    ("words", "method", "path", "body"),
    [
        (["rotate-secret", "w1", "--overlap", "0s"], "POST", "/w1/rotate-secret", {"overlap": "0s"}),
        (["update", "w1", "--disable"], "PATCH", "/w1", {"enabled": False}),
        (["update", "w1", "-e", "*", "--url", "https://b.example/"], "PATCH", "/w1", None),
        (["delete", "w1", "--yes"], "DELETE", "/w1", None),
    ],
)
def test_a_change_is_one_request_with_its_conditions(
    kt: Kt, api: FakeApi, *, words: list[str], method: str, path: str, body: object
) -> None:
    api.on(method, PATH + path, Reply(204) if method == "DELETE" else CHANGED)
    ended = kt("webhooks", *words, "--if-match", "7", "--idempotency-key", "k")
    assert ended.code == 0, ended.err
    (asked,) = api.asked
    if method == "PATCH" and body is None:
        body = {"event_types": ["*"], "url": "https://b.example/"}
    assert (asked.body, asked.headers["if-match"], asked.headers["idempotency-key"]) == (body, '"7"', "k")


def test_a_change_of_nothing_is_not_sent(kt: Kt, api: FakeApi) -> None:
    assert kt("webhooks", "update", "w1").code == 2
    assert api.asked == []


def test_one_and_all_are_shown_with_their_state(kt: Kt, api: FakeApi) -> None:
    gone = {**WEBHOOK, "enabled": False, "disabled_reason": "gone", "overlap_until": "2026-11-24T07:39:03Z"}
    api.on("GET", f"{PATH}/w1", Reply(200, gone, {"ETag": '"8"'}))
    api.on("GET", PATH, Reply(200, {"items": [gone], "next_cursor": None}))
    shown, listed = kt("webhooks", "get", "w1").out, kt("webhooks", "list").out
    assert ["disabled (gone)" in text and "receiver.example.com" in text for text in (shown, listed)] == [True, True]
    assert "signs as well until 2026-11-24T07:39:03Z" in shown


def test_deliveries_say_what_was_answered(kt: Kt, api: FakeApi) -> None:
    api.on("GET", f"{PATH}/w1/deliveries", Reply(200, {"items": [DELIVERY], "next_cursor": None}))
    ended = kt("webhooks", "deliveries", "w1", "--status", "failed")
    assert "500 rejected" in ended.out
    assert api.asked[0].query["status"] == "failed"


def test_all_that_failed_are_delivered_again_over_pages(kt: Kt, api: FakeApi) -> None:
    pages = [
        Reply(200, {"items": [DELIVERY], "next_cursor": "c"}),
        Reply(200, {"items": [{**DELIVERY, "id": "d2"}], "next_cursor": None}),
    ]
    api.on("GET", f"{PATH}/w1/deliveries", *pages)
    for one in ("d1", "d2"):
        api.on("POST", f"{PATH}/w1/deliveries/{one}/redeliver", Reply(202, DELIVERY))
    ended = kt("webhooks", "redeliver", "w1", "--failed")
    assert ended.out.startswith("2 on the way again")
    assert [asked.path.split("/")[-2] for asked in api.asked if asked.method == "POST"] == ["d1", "d2"]


@pytest.mark.parametrize("words", [["w1"], ["w1", "d1", "--failed"]])
def test_redelivery_is_of_one_or_of_all_that_failed(kt: Kt, api: FakeApi, words: list[str]) -> None:
    assert kt("webhooks", "redeliver", *words).code == 2
    assert api.asked == []


def test_a_test_is_asked_for_with_a_key(kt: Kt, api: FakeApi) -> None:
    api.on("POST", f"{PATH}/w1/test", Reply(202, DELIVERY))
    assert "delivery d1 is on its way" in kt("webhooks", "test", "w1").out
    assert api.asked[0].headers["idempotency-key"]

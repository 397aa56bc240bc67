"""``kt git-tokens``: what is sent, what is shown, and that no value is."""

from __future__ import annotations

import pytest

from tests.unit.cli.conftest import Kt
from tests.unit.cli.fake_api import FakeApi, Reply

PATH = "/v1/git-tokens"
SECRET = "github_pat_canary0123456789abcdef"
TOKEN = {
    "name": "REPO",
    "description": "config",
    "version": 2,
    "sequence": 8,
    "created_at": "2026-11-01T00:00:00.000000Z",
    "updated_at": "2026-11-23T07:39:03.192164Z",
}
CHANGED = Reply(200, TOKEN, {"ETag": '"8"'})


def test_create_sends_the_piped_value_and_shows_name_and_version(kt: Kt, api: FakeApi) -> None:
    api.on("POST", PATH, Reply(201, TOKEN, {"ETag": '"8"'}))
    ended = kt("git-tokens", "create", "REPO", "-d", "config", stdin=f"{SECRET}\n".encode())
    assert (ended.code, ended.out) == (0, "created REPO  version 2\n")
    assert api.asked[0].body == {"name": "REPO", "value": SECRET, "description": "config"}
    assert api.asked[0].headers["idempotency-key"]


@pytest.mark.parametrize(
    ("words", "method", "path", "body", "said"),
    [
        (["rotate", "REPO"], "POST", "/REPO/rotate", {"value": SECRET}, "rotated REPO  version 2"),
        (["rollback", "REPO", "--to", "1"], "POST", "/REPO/rollback", {"version": 1}, "rolled back REPO  version 2"),
        (["update", "REPO", "-d", "x"], "PATCH", "/REPO", {"description": "x"}, "updated REPO  version 2"),
        (["destroy", "REPO", "--version", "1", "--yes"], "DELETE", "/REPO/versions/1", None, "destroyed"),
        (["delete", "REPO", "--yes"], "DELETE", "/REPO", None, "deleted REPO"),
    ],
)
def test_a_change_is_one_request_with_its_conditions(
    kt: Kt, api: FakeApi, *, words: list[str], method: str, path: str, body: object, said: str
) -> None:
    api.on(method, PATH + path, CHANGED if method != "DELETE" else Reply(204))
    ended = kt("git-tokens", *words, "--if-match", "7", "--idempotency-key", "k", stdin=SECRET.encode())
    assert ended.code == 0, ended.err
    assert ended.out.startswith(said)
    (asked,) = api.asked
    assert (asked.body, asked.headers["if-match"], asked.headers["idempotency-key"]) == (body, '"7"', "k")


def test_what_is_known_is_shown_without_a_value(kt: Kt, api: FakeApi) -> None:
    api.on("GET", f"{PATH}/REPO", CHANGED)
    api.on("GET", PATH, Reply(200, {"items": [TOKEN], "next_cursor": None}))
    shown, listed = kt("git-tokens", "get", "REPO").out, kt("git-tokens", "list").out
    assert "VALUE" not in shown + listed
    assert ["REPO" in text and "config" in text for text in (shown, listed)] == [True, True]


def test_a_value_is_no_argument(kt: Kt, api: FakeApi) -> None:
    for words in (
        ["create", "REPO", "--value", SECRET],
        ["rotate", "REPO", SECRET],
        ["update", "REPO", "-d", "x", "--value", SECRET],
    ):
        ended = kt("git-tokens", *words)
        assert ended.code == 2
        assert SECRET not in ended.out + ended.err
    assert api.asked == []


def test_nothing_is_deleted_where_nobody_can_be_asked(kt: Kt, api: FakeApi) -> None:
    assert kt("git-tokens", "delete", "REPO").code == 2
    assert api.asked == []

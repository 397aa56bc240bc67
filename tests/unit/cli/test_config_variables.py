"""``kt config-variables``: what is sent, what is shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.unit.cli.conftest import TOKEN, Kt
from tests.unit.cli.fake_api import Asked, FakeApi, Reply

PATH = "/v1/config-variables"
SECRET = "sk-proj-canary-0123456789abcdef"
VARIABLE = {
    "name": "OPENAI_API_KEY",
    "description": "production",
    "sensitive": True,
    "version": 3,
    "value": "********",
    "created_at": "2026-11-01T00:00:00.000000Z",
    "updated_at": "2026-11-23T07:39:03.192164Z",
}
CREATED = Reply(201, VARIABLE, {"ETag": '"7"', "Location": f"{PATH}/OPENAI_API_KEY"})
CHANGED = Reply(200, VARIABLE, {"ETag": '"8"'})


def test_create_sends_the_piped_value_and_shows_name_and_version(kt: Kt, api: FakeApi) -> None:
    api.on("POST", PATH, CREATED)
    ended = kt("config-variables", "create", "OPENAI_API_KEY", "-d", "production", stdin=SECRET.encode())
    assert ended.code == 0
    assert ended.out == "created OPENAI_API_KEY  version 3, sensitive\n"
    body = {"name": "OPENAI_API_KEY", "value": SECRET, "description": "production", "sensitive": True}
    assert api.asked[0].body == body
    assert api.asked[0].headers["authorization"] == f"Bearer {TOKEN}"
    assert api.asked[0].headers["idempotency-key"]


def test_a_repeated_command_says_that_it_was_carried_out_before(kt: Kt, api: FakeApi) -> None:
    api.on("POST", PATH, Reply(201, VARIABLE, {"ETag": '"7"', "Idempotency-Replayed": "true"}))
    assert "carried out before" in kt("vars", "create", "K", "--idempotency-key", "k", stdin=b"v").out


def test_vars_is_short_for_config_variables(kt: Kt, api: FakeApi) -> None:
    api.on("GET", PATH, Reply(200, {"items": [], "next_cursor": None}))
    assert kt("vars", "list").code == kt("config-variables", "list").code == 0


@pytest.mark.parametrize(
    ("piped", "stored"),
    [(b"key\n", "key"), (b"key\r\n", "key"), (b"key\n\n", "key\n"), (b"key\r", "key\r"), (b" key ", " key ")],
)
def test_one_final_line_break_of_a_piped_value_is_dropped(kt: Kt, api: FakeApi, piped: bytes, stored: str) -> None:
    api.on("POST", PATH, CREATED)
    assert kt("vars", "create", "K", stdin=piped).code == 0
    assert api.asked[0].body["value"] == stored


def test_a_value_file_is_read_and_stdin_is_not(kt: Kt, api: FakeApi, tmp_path: Path) -> None:
    api.on("POST", f"{PATH}/K/rotate", CHANGED)
    (tmp_path / "value").write_text("from file\n")
    ended = kt("vars", "rotate", "K", "--value-file", "value", stdin=b"from stdin")
    assert (ended.code, api.asked[0].body) == (0, {"value": "from file"})
    assert ended.out.startswith("rotated OPENAI_API_KEY  version 3")


def test_a_dash_as_value_file_is_stdin(kt: Kt, api: FakeApi) -> None:
    api.on("POST", PATH, CREATED)
    assert kt("vars", "create", "K", "--value-file", "-", stdin=b"piped").code == 0
    assert api.asked[0].body["value"] == "piped"


def test_a_value_file_that_is_not_there_is_a_usage_error(kt: Kt, api: FakeApi) -> None:
    ended = kt("vars", "create", "K", "--value-file", "nowhere")
    assert ended.code == 2
    assert "can't be read: No such file or directory" in ended.err
    assert api.asked == []


@pytest.mark.parametrize(
    ("piped", "said"),
    [
        (b"", "held no value"),
        (b"\n", "held no value"),
        (b"a\0b", "NUL"),
        (b"\xff\xfe", "not text"),
        (b"********", "placeholder"),
        (b"x" * 65_537, "more than 65,536 bytes"),
    ],
)
def test_a_value_that_can_not_be_stored_is_refused_before_anything_is_sent(
    kt: Kt, api: FakeApi, piped: bytes, said: str
) -> None:
    ended = kt("vars", "create", "K", stdin=piped)
    assert ended.code == 2
    assert said in ended.err
    assert api.asked == []


def test_a_value_of_the_largest_size_with_a_line_break_is_stored(kt: Kt, api: FakeApi) -> None:
    api.on("POST", PATH, CREATED)
    assert kt("vars", "create", "K", stdin=b"x" * 65_536 + b"\r\n").code == 0
    assert len(api.asked[0].body["value"]) == 65_536


@pytest.mark.parametrize("name", ["a/b", "my key", "...", "x" * 129, "ä", ""])
def test_a_name_that_is_not_valid_is_refused_before_anything_is_sent(kt: Kt, api: FakeApi, name: str) -> None:
    ended = kt("vars", "get", name)
    assert ended.code == 2
    assert "invalid_name" in ended.err
    assert api.asked == []


@pytest.mark.parametrize(("given", "sent"), [("7", '"7"'), ('"7"', '"7"'), ("*", "*")])
def test_an_etag_may_be_given_with_or_without_quotes(kt: Kt, api: FakeApi, given: str, sent: str) -> None:
    api.on("PATCH", f"{PATH}/K", CHANGED)
    ended = kt("vars", "update", "K", "--description", "new", "--if-match", given, "--idempotency-key", "once")
    assert ended.code == 0
    assert api.asked[0].headers["if-match"] == sent
    assert api.asked[0].headers["idempotency-key"] == "once"
    assert api.asked[0].body == {"description": "new"}


@pytest.mark.parametrize(
    ("option", "body"), [("--sensitive", {"sensitive": True}), ("--no-sensitive", {"sensitive": False})]
)
def test_update_sends_only_what_was_given(kt: Kt, api: FakeApi, option: str, body: dict[str, Any]) -> None:
    api.on("PATCH", f"{PATH}/K", CHANGED)
    assert kt("vars", "update", "K", option).code == 0
    assert api.asked[0].body == body


def test_update_without_a_change_is_a_usage_error(kt: Kt, api: FakeApi) -> None:
    ended = kt("vars", "update", "K")
    assert (ended.code, api.asked) == (2, [])
    assert "--description" in ended.err


def test_rollback_names_the_version(kt: Kt, api: FakeApi) -> None:
    api.on("POST", f"{PATH}/K/rollback", CHANGED)
    assert kt("vars", "rollback", "K", "--to", "2").code == 0
    assert api.asked[0].body == {"version": 2}


def test_get_shows_properties_etag_and_no_value(kt: Kt, api: FakeApi) -> None:
    api.on("GET", f"{PATH}/OPENAI_API_KEY", CHANGED)
    ended = kt("vars", "get", "OPENAI_API_KEY")
    lines = dict(line.split(maxsplit=1) for line in ended.out.splitlines())
    assert lines["NAME"] == "OPENAI_API_KEY"
    assert lines["VALUE"] == "********"
    assert lines["ETAG"] == '"8"'
    assert lines["CHANGED"].startswith("2026-11-23 07:39:03Z (")


def test_get_shows_the_value_of_a_variable_that_is_not_sensitive(kt: Kt, api: FakeApi) -> None:
    api.on("GET", f"{PATH}/REGION", Reply(200, {**VARIABLE, "sensitive": False, "value": "eu-west-1"}))
    assert "VALUE        eu-west-1\n" in kt("vars", "get", "REGION").out


def test_json_output_is_the_document_with_its_etag_before_and_after_the_command(kt: Kt, api: FakeApi) -> None:
    api.on("GET", f"{PATH}/K", CHANGED)
    before, after = kt("-o", "json", "vars", "get", "K"), kt("vars", "get", "K", "--output", "json")
    assert before.json == after.json == {**VARIABLE, "etag": '"8"'}


def _pages(asked: Asked) -> Reply:
    start = int(asked.query.get("cursor", "0"))
    size = min(int(asked.query["limit"]), 3)
    names = [f"KEY_{number}" for number in range(start, min(start + size, 8))]
    following = str(start + size) if start + size < 8 else None
    return Reply(200, {"items": [{**VARIABLE, "name": name} for name in names], "next_cursor": following})


def test_list_follows_all_pages(kt: Kt, api: FakeApi) -> None:
    api.on("GET", PATH, _pages)
    ended = kt("vars", "list", "--prefix", "KEY")
    lines = ended.out.splitlines()
    assert lines[0].split() == ["NAME", "VERSION", "SENSITIVE", "CHANGED", "DESCRIPTION"]
    assert [line.split()[0] for line in lines[1:]] == [f"KEY_{number}" for number in range(8)]
    assert all(asked.query["prefix"] == "KEY" for asked in api.asked)
    assert api.connections == 1


def test_list_stops_at_its_limit_and_says_that_there_is_more(kt: Kt, api: FakeApi) -> None:
    api.on("GET", PATH, _pages)
    ended = kt("vars", "list", "--limit", "4")
    assert len(ended.out.splitlines()) == 1 + 4
    assert "there are more" in ended.err


def test_list_as_json_is_one_document_of_all_pages(kt: Kt, api: FakeApi) -> None:
    api.on("GET", PATH, _pages)
    everything = kt("vars", "list", "-o", "json").json
    assert len(everything["items"]) == 8
    assert everything["next_cursor"] is None
    assert kt("vars", "list", "-o", "json", "--limit", "3").json["next_cursor"] == "3"


def test_an_empty_list_prints_nothing_on_stdout(kt: Kt, api: FakeApi) -> None:
    api.on("GET", PATH, Reply(200, {"items": [], "next_cursor": None}))
    ended = kt("vars", "list")
    assert (ended.out, ended.code) == ("", 0)
    assert "kt vars create" in ended.err
    assert kt("vars", "list", "-o", "json").json == {"items": [], "next_cursor": None}


def test_history_shows_each_version_with_its_actor(kt: Kt, api: FakeApi) -> None:
    entry = {"version": 1, "time": "2026-11-01T00:00:00Z", "action": "create", "actor": {"type": "admin", "id": "a"}}
    entry["value_state"] = "destroyed"
    back = {**entry, "version": 3, "action": "roll_back", "from_version": 1, "value_state": "current"}
    api.on("GET", f"{PATH}/K/history", Reply(200, {"items": [entry, back]}))
    lines = kt("vars", "history", "K").out.splitlines()
    assert lines[0].split() == ["VERSION", "TIME", "AGE", "ACTION", "VALUE", "ACTOR"]
    assert "create" in lines[1]
    assert "destroyed" in lines[1]
    assert "admin/a" in lines[1]
    assert "roll_back (value of 1)" in lines[2]


def test_delete_without_a_terminal_needs_yes(kt: Kt, api: FakeApi) -> None:
    ended = kt("vars", "delete", "K")
    assert (ended.code, api.asked) == (2, [])
    assert "--yes" in ended.err


def test_delete_with_yes_deletes(kt: Kt, api: FakeApi) -> None:
    api.on("DELETE", f"{PATH}/K", Reply(204))
    ended = kt("vars", "delete", "K", "--yes")
    assert (ended.code, ended.out) == (0, "deleted K; its values are destroyed\n")
    assert kt("vars", "delete", "K", "-y", "-o", "json").json == {"name": "K", "deleted": True}


@pytest.mark.parametrize("words", [("destroy", "K", "--version", "2"), ("delete", "K", "--destroy-version", "2")])
def test_one_version_is_destroyed_and_nothing_else(kt: Kt, api: FakeApi, words: tuple[str, ...]) -> None:
    refused = kt("vars", *words)
    assert (refused.code, api.asked) == (2, [])
    assert "--yes" in refused.err
    api.on("DELETE", f"{PATH}/K/versions/2", Reply(204))
    ended = kt("vars", *words, "--yes")
    assert (ended.code, ended.out) == (0, "destroyed the value of K version 2\n")
    assert kt("vars", *words, "-y", "-o", "json").json == {"name": "K", "version": 2, "destroyed": True}


def test_text_from_the_server_can_not_take_over_the_terminal(kt: Kt, api: FakeApi) -> None:
    hostile = {**VARIABLE, "description": "\x1b]0;owned\x07\x9b31m\u202eevil\r\nNEXT"}
    api.on("GET", PATH, Reply(200, {"items": [hostile], "next_cursor": None}))
    shown = kt("vars", "list").out
    assert not {"\x1b", "\x07", "\x9b", "\u202e", "\r"} & set(shown)
    assert len(shown.splitlines()) == 2


def test_a_key_on_the_command_line_is_refused_and_never_repeated(kt: Kt, api: FakeApi) -> None:
    for words in (
        ["vars", "create", "K", "--value", SECRET],
        ["vars", "create", "K", f"--value={SECRET}"],
        ["vars", "create", "K", SECRET],
        ["vars", "rotate", "K", SECRET],
        ["vars", "create", SECRET],
        ["vars", "create", "K", f"--{SECRET}"],
        ["vars", SECRET],
        [SECRET],
        ["vars", "list", "--limit", SECRET],
        ["vars", "update", "K", "--value", SECRET],
        ["token", "issue", "--role", SECRET, "--name", "x"],
        ["token", "issue", "--role", "client", "--name", "x", "--ttl", SECRET],
        ["vars", "create", "K", "--idempotency-key", f"{SECRET} x"],
        ["vars", "list", "--api-url", f"http://{SECRET}@host"],
    ):
        for output in ([], ["-o", "json"]):
            ended = kt(*words, *output, stdin=b"piped")
            assert ended.code == 2, words
            assert SECRET not in ended.err + ended.out, words
    assert api.asked == []


def test_the_refusal_of_a_value_argument_says_why_and_how(kt: Kt) -> None:
    said = kt("vars", "create", "K", "--value", "x").err
    assert "process list" in said
    assert "--value-file" in said

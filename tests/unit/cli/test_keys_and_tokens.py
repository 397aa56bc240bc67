"""``kt keys`` and ``kt token``."""

from __future__ import annotations

from pathlib import Path

import jwt
import pytest

from tests.unit.cli.conftest import Kt
from tests.unit.cli.fake_api import FakeApi, Reply

KEY = {
    "id": "key-1",
    "purpose": "key-encryption",
    "algorithm": "AES-256-GCM-SIV",
    "master_fingerprint": "mk-1",
    "created_at": "2026-11-01T00:00:00Z",
    "sealed_values": 12,
}
ISSUED = {
    "token": "eyJ.token.canary",
    "token_id": "t-1",
    "role": "client",
    "name": "web",
    "expires_at": "2027-02-21T07:39:03.000000Z",
}


def test_keys_status_shows_master_and_what_it_wraps(kt: Kt, api: FakeApi) -> None:
    api.on("GET", "/v1/encryption-keys", Reply(200, {"master_fingerprint": "mk-1", "entries": [KEY]}))
    ended = kt("keys", "status")
    assert ended.out.splitlines()[0].split() == ["MASTER", "KEY", "mk-1"]
    assert ended.out.splitlines()[-1].split()[:5] == ["key-1", "key-encryption", "AES-256-GCM-SIV", "mk-1", "12"]


def test_keys_status_shows_a_previous_master_key_while_there_is_one(kt: Kt, api: FakeApi) -> None:
    document = {"master_fingerprint": "mk-2", "previous_fingerprint": "mk-1", "entries": []}
    api.on("GET", "/v1/encryption-keys", Reply(200, document))
    assert "PREVIOUS    mk-1" in kt("keys", "status").out
    assert kt("keys", "status", "-o", "json").json == document


def test_keys_status_says_in_words_what_can_be_removed_and_lists_what_is_damaged(kt: Kt, api: FakeApi) -> None:
    damaged = {"sealed_id": "id-1", "kind": "config_variable", "name": "OPENAI_API_KEY", "why": "cut short"}
    sentence = "Nothing needs the previous master key mk-1 any more."
    document = {"master_fingerprint": "mk-2", "entries": [KEY], "damaged": [damaged], "summary": [sentence]}
    api.on("GET", "/v1/encryption-keys", Reply(200, document))
    lines = kt("keys", "status").out.splitlines()
    assert lines[-1] == sentence
    assert ["OPENAI_API_KEY", "config_variable", "cut", "short", "id-1"] in [line.split() for line in lines]


STATUS = {
    "master_fingerprint": "mk-1",
    "masters": [{"fingerprint": "mk-1", "given": "current", "keys": 3}],
    "entries": [
        {**KEY, "state": "current"},
        {**KEY, "id": "key-0", "state": "retired", "sealed_values": 3},
        {**KEY, "id": "transport-1", "purpose": "transport", "state": "current", "sealed_values": 0},
    ],
}


def test_a_dry_run_says_what_either_rotation_would_do_and_changes_nothing(kt: Kt, api: FakeApi) -> None:
    api.on("GET", "/v1/encryption-keys", Reply(200, STATUS))
    ended = kt("keys", "rotate", "--dry-run")
    assert ended.code == 0
    assert "3 keys of the keyring" in ended.out
    assert "KEEPTRUSTS_SECRET_ENCRYPTION_KEY_PREVIOUS  the key mk-1" in ended.out
    for part in ("15 data keys", "key-1", "key-0", "transport-1"):
        assert part in ended.out
    assert ended.err == "Nothing was changed.\n"
    only_deep = kt("keys", "rotate", "--deep", "--dry-run")
    assert "restart" not in only_deep.out
    assert kt("keys", "rotate", "--dry-run", "-o", "json").json["deep"] == {
        "old_keys": ["key-1", "key-0"],
        "transport_key": "transport-1",
        "data_keys": 15,
    }
    assert {asked.method for asked in api.asked} == {"GET"}


def test_without_deep_the_four_steps_are_explained_and_no_script_takes_that_for_a_rotation(
    kt: Kt, api: FakeApi
) -> None:
    api.on("GET", "/v1/encryption-keys", Reply(200, STATUS))
    ended = kt("keys", "rotate")
    assert ended.code == 2
    for step in ("1. Make", "2. Restart", "3. Look", "4. Remove"):
        assert step in ended.out
    assert "Nothing was changed" in ended.err
    assert kt("keys", "rotate", "-o", "json").problem["code"] == "usage"
    assert {asked.method for asked in api.asked} == {"GET"}


ROTATIONS = "/v1/encryption-keys/deep-rotations"
RUNNING = {
    "id": "r-1",
    "state": "running",
    "data_keys": 1000,
    "rewrapped": 0,
    "damaged": 0,
    "old_keys": ["key-1"],
    "new_key": "key-2",
    "destroyed_keys": [],
}
COMPLETED = {**RUNNING, "state": "completed", "rewrapped": 1000, "destroyed_keys": ["key-1"]}


def test_a_deep_rotation_is_followed_to_its_end(kt: Kt, api: FakeApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("libs.cli.key_rotation.FASTEST_SECONDS", 0.0)
    api.on("POST", ROTATIONS, Reply(202, RUNNING))
    api.on("GET", f"{ROTATIONS}/r-1", Reply(200, {**RUNNING, "rewrapped": 450}), Reply(200, COMPLETED))
    ended = kt("keys", "rotate", "--deep")
    assert ended.code == 0
    assert ended.out.splitlines() == ["completed: 1,000 data keys wrapped anew under key-2", "destroyed: key key-1"]
    assert "[##########..............]  45%  450 of 1,000 data keys" in ended.err
    assert api.asked[0].headers["idempotency-key"]


def test_a_deep_rotation_can_be_left_running(kt: Kt, api: FakeApi) -> None:
    api.on("POST", ROTATIONS, Reply(202, RUNNING))
    ended = kt("keys", "rotate", "--deep", "--no-wait")
    assert (ended.code, len(api.asked)) == (0, 1)
    assert "r-1 is running" in ended.out
    assert kt("keys", "rotate", "--deep", "--no-wait", "-o", "json").json == RUNNING


def test_ctrl_c_leaves_a_deep_rotation_and_says_how_to_come_back(
    kt: Kt, api: FakeApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("libs.cli.key_rotation.follow.__defaults__", (interrupted,))
    api.on("POST", ROTATIONS, Reply(202, RUNNING))
    ended = kt("keys", "rotate", "--deep")
    assert ended.code == 130
    assert "joins it again" in ended.err


def test_a_deep_rotation_goes_on_while_the_api_is_away_for_a_moment(
    kt: Kt, api: FakeApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("libs.cli.key_rotation.FASTEST_SECONDS", 0.0)
    monkeypatch.setattr("libs.cli.client._PAUSE_SECONDS", 0.0)
    api.on("POST", ROTATIONS, Reply(202, RUNNING))
    away = Reply(503, {"code": "unavailable", "detail": "Away."})
    api.on("GET", f"{ROTATIONS}/r-1", *[away] * 7, Reply(200, COMPLETED))
    assert kt("keys", "rotate", "--deep", "-o", "json").json == COMPLETED


def test_a_deep_rotation_that_met_damage_ends_with_1_and_says_so(kt: Kt, api: FakeApi) -> None:
    api.on("POST", ROTATIONS, Reply(202, {**COMPLETED, "damaged": 2, "destroyed_keys": []}))
    ended = kt("keys", "rotate", "--deep")
    assert ended.code == 1
    assert "kept: key key-1, for values that are damaged" in ended.out
    assert "2 values are damaged" in ended.err


def test_a_token_stands_alone_on_stdout(kt: Kt, api: FakeApi) -> None:
    api.on("POST", "/v1/tokens", Reply(201, ISSUED))
    ended = kt("token", "issue", "--role", "client", "--name", "web", "--ttl", "90d")
    assert ended.out == "eyJ.token.canary\n"
    assert ended.err == "client token for web, valid until 2027-02-21 07:39:03Z, id t-1\n"
    assert api.asked[0].body == {"role": "client", "name": "web", "ttl": "90d"}
    assert kt("token", "issue", "--role", "client", "--name", "web", "-o", "json").json == ISSUED


def test_references_limit_a_token(kt: Kt, api: FakeApi) -> None:
    api.on("POST", "/v1/tokens", Reply(201, ISSUED))
    kt("token", "issue", "--role", "machine", "--name", "job", "--reference", "OPENAI_*", "--reference", "X")
    assert api.asked[0].body["references"] == ["OPENAI_*", "X"]


@pytest.mark.parametrize("ttl", ["90", "0d", "d", "1.5h", "-1d", "90 d", "1w", "9999999999s"])
def test_a_duration_needs_number_and_unit(kt: Kt, api: FakeApi, ttl: str) -> None:
    ended = kt("token", "issue", "--role", "client", "--name", "web", f"--ttl={ttl}")
    assert (ended.code, api.asked) == (2, [])
    assert "such as 90d" in ended.err


def test_a_token_is_not_asked_for_twice_when_the_answer_is_lost(kt: Kt, api: FakeApi) -> None:
    api.on("POST", "/v1/tokens", Reply(hang_up=True))
    ended = kt("token", "issue", "--role", "client", "--name", "web")
    assert ended.code == 6
    assert len(api.asked) == 1


KNOWN = {
    "id": "t-1",
    "role": "machine",
    "name": "ci",
    "references": ["*"],
    "kid": "2026a",
    "state": "active",
    "issued_at": "2026-11-23T07:39:03.192164Z",
    "issued_by": {"type": "admin", "id": "alice"},
    "expires_at": "2027-02-21T07:39:03.000000Z",
    "revoked_at": None,
    "revoked_by": None,
}
ELSEWHERE: dict[str, object] = {**dict.fromkeys(KNOWN), "id": "jti-1", "references": [], "state": "revoked"}
REVOKED = {"id": "t-1", "role": "machine", "name": "ci", "issued_here": True, "repeated": False}


def test_tokens_are_listed_page_by_page_with_the_conditions_given(kt: Kt, api: FakeApi) -> None:
    pages = [{"items": [KNOWN], "next_cursor": "c1"}, {"items": [ELSEWHERE], "next_cursor": None}]
    api.on("GET", "/v1/tokens", *(Reply(200, page) for page in pages))
    ended = kt("token", "list", "--state", "active", "--kid", "2026a", "--role", "machine", "--name", "ci")
    lines = [line.split() for line in ended.out.splitlines()]
    assert lines[0] == ["ID", "ROLE", "NAME", "STATE", "ISSUED", "BY", "ISSUED", "EXPIRES", "KID"]
    assert (lines[1][:5], lines[1][-3:]) == (
        ["t-1", "machine", "ci", "active", "admin/alice"],
        ["2027-02-21", "07:39:03Z", "2026a"],
    )
    assert lines[2] == ["jti-1", "-", "-", "revoked", "-", "-", "-", "-"]
    assert api.asked[1].query == {
        "state": "active", "kid": "2026a", "role": "machine", "name": "ci", "limit": "200", "cursor": "c1"
    }  # fmt: skip
    api.on("GET", "/v1/tokens", Reply(200, {"items": [KNOWN], "next_cursor": None}))
    assert kt("token", "list", "-o", "json").json == {"items": [KNOWN], "next_cursor": None}


def test_a_token_is_revoked_by_id(kt: Kt, api: FakeApi) -> None:
    api.on("POST", "/v1/tokens/revoke", Reply(200, {"items": [REVOKED], "more": False}))
    ended = kt("token", "revoke", "t-1")
    assert ended.out == "revoked machine token of ci, id t-1\n"
    assert api.asked[0].body == {"id": "t-1"}
    again = Reply(200, {"items": [{**REVOKED, "repeated": True}], "more": False})
    api.on("POST", "/v1/tokens/revoke", again)
    assert kt("token", "revoke", "t-1").out == "revoked machine token of ci, id t-1 (was revoked before)\n"


def test_all_tokens_of_a_name_are_revoked(kt: Kt, api: FakeApi) -> None:
    parts = [{"items": [REVOKED], "more": True}, {"items": [{**REVOKED, "id": "t-2"}], "more": False}]
    api.on("POST", "/v1/tokens/revoke", *(Reply(200, part) for part in parts))
    ended = kt("token", "revoke", "--name", "ci")
    assert [line.split()[-1] for line in ended.out.splitlines()] == ["t-1", "t-2"]
    assert [asked.body for asked in api.asked] == [{"name": "ci"}] * 2
    api.on("POST", "/v1/tokens/revoke", Reply(200, {"items": [], "more": False}))
    assert "No active token" in kt("token", "revoke", "--name", "ci").err


def test_a_leaked_token_is_revoked_without_being_sent(kt: Kt, api: FakeApi, home: Path) -> None:
    elsewhere = {"id": "jti-1", "role": None, "name": None, "issued_here": False, "repeated": False}
    api.on("POST", "/v1/tokens/revoke", Reply(200, {"items": [elsewhere], "more": False}))
    token = jwt.encode({"jti": "made:elsewhere"}, "k" * 32)
    (home / "leaked.token").write_text(f"{token}\n")
    for ended in (
        kt("token", "revoke", "--leaked-token", str(home / "leaked.token")),
        kt("token", "revoke", "--leaked-token", "-", stdin=token.encode()),
    ):
        assert ended.out == "revoked id jti-1\n"
        assert "signed elsewhere" in ended.err
    assert [asked.body for asked in api.asked] == [{"id": "made:elsewhere"}] * 2


@pytest.mark.parametrize("content", [b"", b"abc", b"a.b.c", b"\xff", b"e30.e30.x", b"x.eyJqdGkiOjF9.x"])
def test_what_is_no_token_is_refused_and_not_repeated(kt: Kt, api: FakeApi, content: bytes) -> None:
    ended = kt("token", "revoke", "--leaked-token", "-", stdin=content)
    assert (ended.code, api.asked) == (2, [])
    assert "no id" in ended.err or "does not hold a token" in ended.err


@pytest.mark.parametrize("words", [(), ("t-1", "--name", "ci"), ("--name", "ci", "--leaked-token", "f")])
def test_it_has_to_be_clear_which_token_is_meant(kt: Kt, api: FakeApi, words: tuple[str, ...]) -> None:
    ended = kt("token", "revoke", *words)
    assert (ended.code, api.asked) == (2, [])

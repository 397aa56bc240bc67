"""``kt keys`` and ``kt token``."""

from __future__ import annotations

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

"""``kt reload``: the keys that are in force afterwards, or why they were refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jwt
import pytest

from libs.cli import reloading
from libs.engines.control import Status
from tests.unit.cli.conftest import Kt
from tests.unit.cli.fake_api import FakeApi, Reply

BEFORE = {"kids": ["k1"], "current": "k1", "read_at": "2026-11-23T07:00:00Z", "refused": None}
AFTER = {"kids": ["k1", "k2"], "current": "k2", "read_at": "2026-11-23T07:39:03Z", "refused": None}
REFUSED = {**BEFORE, "refused": {"detail": "The file can't be used: entry 2 repeats a key id.", "at": "2026"}}


def ready(keys: dict[str, Any]) -> Reply:
    return Reply(200, {"ready": True, "services": {}, "signing_keys": keys})


@pytest.fixture
def signals(api: FakeApi, home: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the api process was told."""
    told: list[str] = []
    monkeypatch.setattr("libs.engines.control.status", lambda h: Status(h.path, api.url, "", True, ()))
    monkeypatch.setattr("libs.engines.control.reload", lambda _: told.append("reload"))
    monkeypatch.setattr(reloading, "_WITHIN_SECONDS", 0.3)
    return told


def test_it_tells_which_keys_are_in_force(kt: Kt, api: FakeApi, signals: list[str]) -> None:
    api.on("GET", "/readyz", ready(BEFORE), ready(BEFORE), ready(AFTER))
    ended = kt("reload")
    assert (ended.code, ended.out, signals) == (0, "reloaded k1, k2 (signs)\n", ["reload"])
    assert "authorization" not in api.asked[0].headers
    api.on("GET", "/readyz", ready(BEFORE), ready(AFTER))
    assert kt("reload", "-o", "json").json == {"reloaded": True, "signing_keys": AFTER}


def test_keys_that_were_refused_are_an_error_with_the_reason(kt: Kt, api: FakeApi, signals: list[str]) -> None:
    api.on("GET", "/readyz", ready(BEFORE), ready(REFUSED))
    ended = kt("reload")
    assert ended.code == 2
    assert "entry 2 repeats a key id" in ended.err
    assert "The keys before stay in force" in ended.err


def test_a_system_that_is_not_ready_names_its_keys_too(kt: Kt, api: FakeApi, signals: list[str]) -> None:
    members = {"detail": "Not ready: audit.", "code": "unavailable", "ready": False, "services": {}}
    api.on("GET", "/readyz", Reply(503, {**members, "signing_keys": BEFORE}), ready(AFTER))
    assert kt("reload").code == 0


def test_it_waits_for_an_admin_token_that_the_new_keys_verify(
    kt: Kt, api: FakeApi, home: Path, signals: list[str]
) -> None:
    (home / "admin.token").write_text(jwt.encode({}, "o" * 32, headers={"kid": "k0"}))
    api.on("GET", "/readyz", ready(BEFORE), ready(AFTER))
    ended = kt("reload")
    assert ended.code == 6
    assert "admin token was not made anew" in ended.err
    (home / "admin.token").write_text(jwt.encode({}, "o" * 32, headers={"kid": "k1"}))
    api.on("GET", "/readyz", ready(BEFORE), ready(AFTER))
    assert kt("reload").code == 0


def test_without_an_answer_it_ends(kt: Kt, api: FakeApi, signals: list[str]) -> None:
    api.on("GET", "/readyz", ready(BEFORE))
    ended = kt("reload")
    assert ended.code == 6
    assert "did not say what came of it" in ended.err


def test_where_nothing_runs_it_says_so(kt: Kt) -> None:
    ended = kt("reload")
    assert ended.code == 6
    assert "kt up" in ended.err


def test_status_and_doctor_tell_of_keys_that_were_refused(kt: Kt, api: FakeApi, signals: list[str]) -> None:
    api.on("GET", "/readyz", ready(REFUSED))
    api.on("GET", "/v1/config-variables", Reply(200, {"items": [], "next_cursor": None}))
    for words in (("status",), ("status", "--api-url", api.url)):
        ended = kt(*words)
        assert ended.code == 0
        assert "JWT KEYS  k1 (signs)" in ended.out
        assert "REFUSED   The file can't be used: entry 2 repeats a key id." in ended.out
    assert kt("status", "-o", "json").json["signing_keys"] == REFUSED
    found = {f["check"]: f for f in kt("doctor", "-o", "json").json["findings"]}
    assert found["JWT keys"]["state"] == "wrong"
    assert "kt reload" in found["JWT keys"]["fix"]

"""Which system a command talks to, and with whose token."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from libs.cli import discovery
from tests.unit.cli.conftest import TOKEN, Kt
from tests.unit.cli.fake_api import FakeApi, Reply

LIST = "/v1/config-variables"
EMPTY = Reply(200, {"items": [], "next_cursor": None})
OTHER = "another-token"


@pytest.fixture(autouse=True)
def _answering(api: FakeApi) -> None:
    api.on("GET", LIST, EMPTY)


def _token(api: FakeApi) -> str:
    return api.asked[-1].headers["authorization"].removeprefix("Bearer ")


def _elsewhere(tmp_path: Path, api: FakeApi) -> Path:
    home = tmp_path / "elsewhere"
    home.mkdir(mode=0o700)
    (home / "state.json").write_text(json.dumps({"api_url": api.url}))
    (home / "admin.token").write_text("token-of-elsewhere")
    return home


def test_beside_a_home_address_and_token_are_found(kt: Kt, api: FakeApi) -> None:
    assert kt("vars", "list").code == 0
    assert _token(api) == TOKEN


def test_the_environment_names_address_and_token(
    kt: Kt, api: FakeApi, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "state.json").unlink()
    monkeypatch.setenv("KEEPTRUSTS_API_URL", api.url)
    monkeypatch.setenv("KEEPTRUSTS_TOKEN", OTHER)
    assert kt("vars", "list").code == 0
    assert _token(api) == OTHER


def test_options_go_before_the_environment(
    kt: Kt, api: FakeApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEEPTRUSTS_API_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("KEEPTRUSTS_TOKEN", OTHER)
    (tmp_path / "a.token").write_text("from-file\n")
    assert kt("vars", "list", "--api-url", api.url, "--token-file", "a.token").code == 0
    assert _token(api) == "from-file"


def test_a_home_on_the_command_line_decides_about_address_and_token(
    kt: Kt, api: FakeApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = _elsewhere(tmp_path, api)
    monkeypatch.setenv("KEEPTRUSTS_API_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("KEEPTRUSTS_TOKEN", OTHER)
    assert kt("--home", str(home), "vars", "list").code == 0
    assert _token(api) == "token-of-elsewhere"


def test_a_home_in_the_environment_is_used(
    kt: Kt, api: FakeApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEEPTRUSTS_HOME", str(_elsewhere(tmp_path, api)))
    assert kt("vars", "list").code == 0
    assert _token(api) == "token-of-elsewhere"


def test_a_token_that_was_only_found_is_not_sent_to_another_machine(kt: Kt, api: FakeApi) -> None:
    ended = kt("vars", "list", "--api-url", "https://keys.example.invalid")
    assert ended.code == 5
    assert "belongs to the system of that home" in ended.err
    assert api.asked == []


def test_without_a_system_the_way_to_one_is_shown(kt: Kt, home: Path) -> None:
    (home / "state.json").unlink()
    ended = kt("vars", "list")
    assert ended.code == 2
    assert "kt up" in ended.err


def test_without_a_token_the_ways_to_give_one_are_shown(kt: Kt, home: Path) -> None:
    (home / "admin.token").unlink()
    ended = kt("vars", "list")
    assert ended.code == 5
    assert "KEEPTRUSTS_TOKEN" in ended.err


def test_a_token_file_that_was_named_must_exist(kt: Kt) -> None:
    ended = kt("vars", "list", "--token-file", "nowhere")
    assert ended.code == 5
    assert "does not exist" in ended.err


@pytest.mark.parametrize("content", ["", "two words", "tökén", "a\nb"])
def test_what_is_no_token_is_refused_and_not_shown(kt: Kt, api: FakeApi, home: Path, content: str) -> None:
    (home / "admin.token").write_text(content)
    ended = kt("vars", "list")
    assert (ended.code, api.asked) == (5, [])
    assert not content or content not in ended.err


def test_a_damaged_state_says_so(kt: Kt, home: Path) -> None:
    (home / "state.json").write_text("{")
    ended = kt("vars", "list")
    assert ended.code == 2
    assert "state.json can't be read" in ended.err


def test_a_home_of_somebody_else_is_not_used(kt: Kt, api: FakeApi, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = os.geteuid()
    monkeypatch.setattr("libs.cli.discovery.os.geteuid", lambda: mine + 1)
    ended = kt("vars", "list")
    assert (ended.code, api.asked) == (2, [])
    assert "belongs to another user" in ended.err


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o722])
def test_a_home_that_others_can_change_is_not_used(kt: Kt, api: FakeApi, home: Path, mode: int) -> None:
    home.chmod(mode)
    ended = kt("vars", "list")
    assert (ended.code, api.asked) == (2, [])
    assert "chmod 700" in ended.err


@pytest.mark.parametrize(
    "url", ["ftp://host", "host:8080", "http:///path", "http://u:p@host", "http://h?x=1", "http://h:x"]
)
def test_an_address_that_is_none_is_refused_without_repeating_it(kt: Kt, url: str) -> None:
    ended = kt("vars", "list", "--api-url", url)
    assert ended.code == 2
    assert url not in ended.err


@pytest.mark.parametrize(
    ("url", "exposed"),
    [
        ("http://127.0.0.1:8080", False),
        ("http://localhost:8080", False),
        ("http://[::1]:8080", False),
        ("https://keys.example.com", False),
        ("http://keys.example.com", True),
        ("http://127.0.0.1.example.com", True),
    ],
)
def test_a_token_in_clear_on_a_network_is_warned_of(
    url: str, exposed: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    discovery.warn_if_exposed(url)
    assert ("unencrypted" in capsys.readouterr().err) is exposed

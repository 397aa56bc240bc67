"""``kt gateway``: where it looks, with which token, and what it shows."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from libs.cli.gateway_process import Run, settings_of
from libs.cli.session import Session
from libs.common.errors import KtError
from tests.unit.cli.conftest import TOKEN, Kt
from tests.unit.cli.fake_api import FakeApi, Reply

CONTROL = "/-/keeptrusts/v1"
STATUS = {
    "name": "keeptrusts-proxy",
    "pack": "pack-1",
    "config_digest": "6dfe50f600af3016721bcb88b969c48c",
    "loaded_at": "2026-11-23T08:25:19.907143Z",
    "client_auth": "client_token",
    "data_plane_connected": True,
    "targets": [
        {
            "id": "openai",
            "provider": "openai",
            "reference": {"kind": "store", "name": "OPENAI_API_KEY"},
            "version": 3,
            "since": "2026-11-23T08:25:18.445889Z",
            "state": "serving",
            "stale": False,
            "reason": None,
        },
        {
            "id": "azure",
            "provider": "azure-openai",
            "reference": {"kind": "env", "name": "AZURE_KEY"},
            "version": None,
            "since": "2026-11-23T08:25:18.445889Z",
            "state": "withdrawn",
            "stale": True,
            "reason": "deleted",
        },
    ],
}


@pytest.fixture
def own(home: Path, api: FakeApi) -> Path:
    """The folder of a gateway that runs from this home."""
    folder = home / "gateways" / "keeptrusts-proxy"
    folder.mkdir(parents=True)
    (folder / "control.token").write_text("control-token\n")
    (folder / "gateway.json").write_text(json.dumps({"url": api.url}))
    return folder


def test_status_finds_the_gateway_of_the_home_and_shows_references_and_versions(
    kt: Kt, api: FakeApi, own: Path
) -> None:
    api.on("GET", f"{CONTROL}/status", Reply(200, STATUS))
    ended = kt("gateway", "status")
    assert ended.code == 0
    assert api.asked[0].headers["authorization"] == "Bearer control-token"
    rows = [line.split() for line in ended.out.splitlines() if line.startswith(("openai", "azure"))]
    assert rows[0][:5] == ["openai", "openai", "store:", "OPENAI_API_KEY", "3"]
    assert rows[0][-1] == "serving"
    assert rows[1][2:5] == ["env:", "AZURE_KEY", "-"]
    assert "withdrawn (deleted), stale" in ended.out
    assert kt("gateway", "status", "-o", "json").json == STATUS


SOURCE = {
    "repository": "https://git.example.com/gateways.git",
    "path": "eu/config.yaml",
    "ref": "main",
    "commit": "5e" * 20,
    "applied_at": "2026-11-23T08:25:18.445889Z",
    "checked_at": "2026-11-23T08:25:48.445889Z",
    "error": None,
}


def test_status_shows_the_commit_in_force_and_why_a_later_one_is_not(kt: Kt, api: FakeApi, own: Path) -> None:
    api.on("GET", f"{CONTROL}/status", Reply(200, {**STATUS, "source": SOURCE}))
    lines = kt("gateway", "status").out
    assert "REPOSITORY  https://git.example.com/gateways.git" in lines
    assert "COMMIT      5e5e5e5e5e5e, since 2026-11-23 08:25:18Z" in lines
    assert "NOT APPLIED" not in lines
    error = {
        "code": "invalid_config",
        "detail": "The gateway configuration has 1 problem.",
        "hint": "Correct it.",
        "at": "2026-11-23T08:26:48.445889Z",
        "commit": "6f" * 20,
    }
    api.on("GET", f"{CONTROL}/status", Reply(200, {**STATUS, "source": {**SOURCE, "ref": None, "error": error}}))
    lines = kt("gateway", "status").out
    assert "REF          HEAD" in lines
    assert "NOT APPLIED  commit 6f6f6f6f6f6f: The gateway configuration has 1 problem. Correct it. (invalid" in lines


def test_list_shows_the_commit_that_a_gateway_serves(kt: Kt, api: FakeApi) -> None:
    gateway = {"name": "proxy", "config_digest": "abc", "seen_at": "2026-11-23T08:25:19Z", "source": SOURCE}
    api.on("GET", "/v1/gateways", Reply(200, {"items": [gateway]}))
    assert kt("gateway", "list").out.splitlines()[1].endswith("commit 5e5e5e5e5e5e")


def test_reload_as_the_documentation_writes_it(kt: Kt, api: FakeApi, own: Path) -> None:
    api.on("POST", f"{CONTROL}/reload", Reply(200, {"outcome": "reloaded", **STATUS}))
    ended = kt("gateway", "reload", "--name", "keeptrusts-proxy", "--gateway-url", api.url)
    assert ended.code == 0
    assert ended.out.startswith("reloaded keeptrusts-proxy\n")
    assert api.asked[0].headers["authorization"] == "Bearer control-token"


@pytest.mark.parametrize("command", ["status", "reload"])
def test_the_admin_token_goes_to_no_gateway(kt: Kt, api: FakeApi, command: str) -> None:
    ended = kt("gateway", command, "--gateway-url", api.url)
    assert (ended.code, api.asked) == (5, [])
    assert "`kt gateway run` makes one" in ended.err


def test_a_refused_reload_shows_every_problem_and_exits_with_usage(kt: Kt, api: FakeApi, own: Path) -> None:
    errors = [{"field": "line 8", "problem": "unknown provider", "expected": "openai"}]
    api.problem("POST", f"{CONTROL}/reload", 422, "invalid_config", detail="It has 1 problem.", errors=errors)
    ended = kt("gateway", "reload")
    assert ended.code == 2
    assert "line 8: unknown provider; expected openai" in ended.err


def test_a_gateway_that_does_not_run_is_unreachable_with_the_way_to_start_it(kt: Kt, own: Path) -> None:
    ended = kt("gateway", "status", "--gateway-url", "http://127.0.0.1:1")
    assert ended.code == 6
    assert "kt gateway run" in ended.err


def test_the_control_token_does_not_leave_for_another_machine(kt: Kt, own: Path) -> None:
    ended = kt("gateway", "status", "--gateway-url", "http://gateway.example.invalid")
    assert ended.code == 5


def test_a_gateways_name_can_not_lead_out_of_its_folder(kt: Kt, api: FakeApi) -> None:
    ended = kt("gateway", "status", "--name", "../../elsewhere")
    assert (ended.code, api.asked) == (2, [])


def test_list_shows_what_each_gateway_uses(kt: Kt, api: FakeApi) -> None:
    target = {"target": "openai", "store": "store", "reference": "OPENAI_API_KEY", "version": 3}
    gateway = {"name": "proxy", "config_digest": "abc", "seen_at": "2026-11-23T08:25:19Z", "targets": [target]}
    idle = {"name": "idle", "config_digest": "", "seen_at": "", "targets": []}
    api.on("GET", "/v1/gateways", Reply(200, {"items": [gateway, idle]}))
    lines = kt("gateway", "list").out.splitlines()
    assert lines[1].split()[:5] == ["proxy", "openai", "store:", "OPENAI_API_KEY", "3"]
    assert lines[2].split()[:4] == ["idle", "-", "-", "-"]
    api.on("GET", "/v1/gateways", Reply(200, {"items": []}))
    assert "kt gateway run" in kt("gateway", "list").err


def _run(**given: Any) -> Run:
    nothing = dict.fromkeys(field.name for field in fields(Run))
    given = {"policy_config": "policy.yaml", "allow_anonymous": False, "git_allow_http": False, **given}
    return Run(**{**nothing, **given})


def test_a_gateway_is_told_the_system_of_the_home(home: Path, api: FakeApi) -> None:
    settings = settings_of(Session(), _run(listen="0.0.0.0:41002", name="edge"))
    assert (settings["listen"], settings["name"], settings["api_url"]) == ("0.0.0.0:41002", "edge", api.url)
    assert settings["token"].reveal() == TOKEN.encode()
    assert settings["home"] == home
    assert "concurrency" not in settings


def test_a_gateway_without_a_system_is_told_of_none(home: Path) -> None:
    (home / "state.json").unlink()
    settings = settings_of(Session(), _run(allow_anonymous=True))
    assert (settings["api_url"], settings["token"], settings["allow_anonymous"]) == ("", None, True)


def test_a_gateway_without_a_token_is_told_of_no_system(home: Path) -> None:
    (home / "admin.token").unlink()
    assert settings_of(Session(), _run())["token"] is None


def test_a_gateway_is_not_started_with_a_token_file_that_is_not_there(home: Path) -> None:
    with pytest.raises(KtError, match="does not exist"):
        settings_of(Session(token_file=Path("nowhere")), _run())


def test_what_is_said_of_a_repository_reaches_the_gateway_and_the_rest_is_left_to_it(home: Path) -> None:
    url = "git+https://git.example.com/gateways.git#config.yaml@main"
    settings = settings_of(Session(), _run(policy_config=url, git_token="REPO", git_poll_seconds=0.0))
    assert (settings["policy_config"], settings["git_token"], settings["git_poll_seconds"]) == (url, "REPO", 0.0)
    assert {"git_username", "git_allow_http"} & set(settings) == set()


@pytest.mark.parametrize(
    ("place", "told"),
    [
        ("git+https://someone:cnry-password@git.example.com/c.git#c.yaml", "a user name or password"),
        ("https://cnry-word@git.example.com/c.git", "a scheme that is not known"),
        ("git+ssh://git@cnry.example.com/c.git#c.yaml", "a scheme that is not known"),
        ("git@cnry.example.com:c.git", "a scheme that is not known"),
        ("git+https://cnry.example.com/c.git", "no file is named"),
        ("git+http://cnry.example.com/c.git#c.yaml", "clear text"),
    ],
)
def test_a_place_that_is_not_valid_is_named_and_not_repeated(kt: Kt, place: str, told: str) -> None:
    ended = kt("gateway", "run", "--policy-config", place)
    assert ended.code == 2
    assert told in ended.err
    assert "cnry" not in ended.err + ended.out


def test_run_needs_a_config(kt: Kt) -> None:
    ended = kt("gateway", "run")
    assert ended.code == 2
    assert "--policy-config is missing" in ended.err

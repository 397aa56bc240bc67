"""The product page's own calls and commands, hosts and token apart, and what it promises of each."""

from __future__ import annotations

import base64
import json
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from demo.provider import Provider
from demo.stage import Stage, Surprise, call, eventually
from tests.e2e.conftest import System
from tests.e2e.secrets_search import Search

ENV_CONFIG = """\
pack:
  name: secret-management-providers-2
  version: 1.0.0
  enabled: true
providers:
  targets:
    - id: openai-primary
      provider: openai
      model: gpt-4o-mini
      base_url: {url}
      secret_key_ref:
        env: OPENAI_API_KEY
policies:
  chain:
    - audit-logger
policy:
  audit-logger:
    immutable: true
    retention_days: 365
    log_all_access: true
"""


@pytest.fixture
def provider() -> Iterator[Provider]:
    provider = Provider()
    yield provider
    provider.close()


@pytest.mark.parametrize(
    "name", ["OPENAI_API_KEY", "anthropic.production.key", "azure-openai-key-east-us", "provider_key_v2"]
)
def test_valid_names_are_created_and_redacted(system: System, name: str) -> None:
    answer = system.create(name, "sk-proj-...", description="OpenAI production API key", sensitive=True)
    assert answer.status == 201
    assert "sk-proj" not in json.dumps(answer.body)
    assert "sk-proj" not in json.dumps(system.http("GET", f"/v1/config-variables/{name}").body)
    assert answer.headers["location"].endswith(f"/v1/config-variables/{name}")


@pytest.mark.parametrize("name", ["openai/api/key", "my key"])
def test_invalid_names_are_refused(system: System, name: str) -> None:
    answer = system.create(name, "x")
    assert (answer.status, answer.body["code"]) == (422, "invalid_name")
    assert name not in json.dumps(answer.body)


def test_a_write_is_seen_by_the_next_read(system: System) -> None:
    assert system.create("SEEN", "v1").status == 201
    for number in range(2, 12):
        assert system.http("POST", "/v1/config-variables/SEEN/rotate", {"value": f"v{number}"}).status == 200
        assert system.http("GET", "/v1/config-variables/SEEN").body["version"] == number
        listed = system.http("GET", "/v1/config-variables?prefix=SEEN").body["items"]
        assert [item["version"] for item in listed] == [number]


def test_the_audit_trail_names_all_four_kinds_of_operation(
    system: System, provider: Provider, tmp_path: Path
) -> None:
    system.create("TRAIL", "first")
    system.http("PATCH", "/v1/config-variables/TRAIL", {"description": "changed"})
    system.http("POST", "/v1/machine/resolve", {"references": ["TRAIL", "NOT_THERE"]})
    system.http("POST", "/v1/config-variables/TRAIL/rotate", {"value": "second"})
    system.http("DELETE", "/v1/config-variables/TRAIL")
    log = json.loads(
        system.kt("events", "list", "--filter", "category=secret_management", "--limit", "50", "--output", "json")
    )
    seen = {(e["data"]["action"], e["data"]["resource"]["id"], e["data"]["outcome"]["result"]) for e in log["items"]}
    assert {
        ("create", "TRAIL", "success"),
        ("update", "TRAIL", "success"),
        ("resolve", "TRAIL", "success"),
        ("resolve", "NOT_THERE", "failure"),
        ("rotate", "TRAIL", "success"),
        ("delete", "TRAIL", "success"),
    } <= seen


def test_a_gateway_with_environment_references_needs_no_system(provider: Provider, tmp_path: Path) -> None:
    provider.accepted = {"sk-from-environment"}
    config = tmp_path / "policy-config.yaml"
    config.write_text(ENV_CONFIG.format(url=provider.url))
    environment = {k: v for k, v in os.environ.items() if not k.startswith("KEEPTRUSTS_")}
    environment |= {
        "OPENAI_API_KEY": "sk-from-environment",
        "KEEPTRUSTS_HOME": str(tmp_path / "home"),
        "KEEPTRUSTS_GATEWAY_CLIENT_KEY": "client-key-of-this-test-0123456789",
    }
    command = [sys.executable, "-P", "-m", "libs.cli.main", "gateway", "run", "--listen", "127.0.0.1:0"]
    process = subprocess.Popen(
        [*command, "--policy-config", str(config)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        url = process.stdout.readline().split()[1]
        body = {"model": "gpt-4o-mini", "messages": []}
        answer = call("POST", f"{url}/v1/chat/completions", "client-key-of-this-test-0123456789", body)
        assert answer.status == 200
        assert set(provider.seen) == {"sk-from-environment"}
        assert call("POST", f"{url}/v1/chat/completions", "wrong", body).status == 401
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    assert process.returncode == 0


def test_a_gateway_is_controlled_by_those_who_may(system: System, provider: Provider, tmp_path: Path) -> None:
    """Far from the gateway's home, an operator's own token works; a client's or an auditor's does not."""
    provider.accepted = {"sk-from-store"}
    system.create("CONTROLLED_KEY", "sk-from-store")
    config = tmp_path / "policy-config.yaml"
    config.write_text(ENV_CONFIG.format(url=provider.url).replace("env: OPENAI_API_KEY", "store: CONTROLLED_KEY"))
    run = ("gateway", "run", "--name", "controlled", "--listen", "127.0.0.1:0", "--policy-config", str(config))
    gateway = system.stage.start(*run, until="ready ").split()[1]
    tokens = {
        role: system.kt("token", "issue", "--role", role, "--name", f"some-{role}", "--ttl", "1h").strip()
        for role in ("operator", "auditor", "machine", "client")
    }
    status = {role: call("GET", f"{gateway}/-/keeptrusts/v1/status", token).status for role, token in tokens.items()}
    assert status == {"operator": 200, "auditor": 403, "machine": 403, "client": 403}
    assert call("POST", f"{gateway}/-/keeptrusts/v1/reload", tokens["operator"]).status == 200

    def listed() -> list[tuple[str, int]]:
        answer = system.http("GET", "/v1/gateways")
        gateways = answer.body["items"] if answer.status == 200 else []
        return [(t["reference"], t["version"]) for g in gateways if g["name"] == "controlled" for t in g["targets"]]

    eventually(lambda: listed() == [("CONTROLLED_KEY", 1)], "what the gateway reported is listed")


def test_a_missing_environment_variable_fails_at_parse_time(tmp_path: Path, system: System) -> None:
    config = tmp_path / "policy-config.yaml"
    config.write_text(ENV_CONFIG.format(url="https://api.openai.com").replace("OPENAI_API_KEY", "NOT_SET_ANYWHERE"))
    done = subprocess.run(
        [sys.executable, "-P", "-m", "libs.cli.main", "gateway", "run", "--policy-config", str(config)],
        env=system.stage.environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert "NOT_SET_ANYWHERE" in done.stderr
    assert "line 12" in done.stderr


@pytest.mark.chaos
def test_old_and_new_jwt_keys_work_side_by_side(tmp_path: Path) -> None:
    """The page: new tokens carry the latest kid, old tokens stay valid while their kid is in the set."""
    old, new = (f"kid{number}:{secrets.token_urlsafe(32)}" for number in (1, 2))
    stage = Stage(tmp_path / "home", {"KEEPTRUSTS_JWT_VERIFICATION_KEYS": old})
    try:
        url = stage.start("up", until="ready ").split()[1]
        first = (stage.home / "admin.token").read_text().strip()
        assert call("GET", f"{url}/v1/config-variables", first).status == 200
        stage.close()
        stage.settings["KEEPTRUSTS_JWT_VERIFICATION_KEYS"] = f"{old},{new}"
        url = stage.start("up", until="ready ").split()[1]
        issued = call("POST", f"{url}/v1/tokens", first, {"role": "auditor", "name": "a", "ttl": "1h"})
        assert issued.status == 201
        assert call("GET", f"{url}/v1/config-variables", issued.body["token"]).status == 200
        stage.close()
        stage.settings["KEEPTRUSTS_JWT_VERIFICATION_KEYS"] = new
        url = stage.start("up", until="ready ").split()[1]
        assert call("GET", f"{url}/v1/config-variables", first).status == 401
        assert call("GET", f"{url}/v1/config-variables", issued.body["token"]).status == 200
    finally:
        stage.close()


def test_the_encryption_key_is_rotated_by_a_restart_and_that_is_on_record(tmp_path: Path) -> None:
    old, new = (base64.b64encode(secrets.token_bytes(32)).decode() for _ in range(2))
    variable = "KEEPTRUSTS_SECRET_ENCRYPTION_KEY"
    stage = Stage(tmp_path / "home", {variable: old})
    references = {"references": ["KEY"]}
    try:
        url = stage.start("up", until="ready ").split()[1]
        token = (stage.home / "admin.token").read_text().strip()
        assert call("POST", f"{url}/v1/config-variables", token, {"name": "KEY", "value": "kept"}).status == 201
        stage.close()
        stage.settings = {variable: new, f"{variable}_PREVIOUS": old}
        url = stage.start("up", until="ready ").split()[1]
        assert "kept" in json.dumps(call("POST", f"{url}/v1/machine/resolve", token, references).body)

        def rotations() -> list[dict[str, str]]:
            found = call("GET", f"{url}/v1/events?filter=type%3Dkt.encryption_key.rotated.v1", token)
            return [item["data"]["detail"] for item in found.body["items"]] if found.status == 200 else []

        eventually(lambda: len(rotations()) == 1, "the rotation is on record")
        assert "it can be removed from" in stage.kt("keys", "status")
        stage.close()
        stage.settings = {variable: new}
        url = stage.start("up", until="ready ").split()[1]
        assert "kept" in json.dumps(call("POST", f"{url}/v1/machine/resolve", token, references).body)
        eventually(lambda: len(rotations()) == 1, "it is still on record, once")
        (rotation,) = rotations()
        stage.close()
        stage.settings = {variable: old}
        with pytest.raises(Surprise, match=rotation["to_fingerprint"]):
            stage.start("up", until="ready ")
    finally:
        stage.close()
    assert list(Search({"old master key": old, "new master key": new}).files(tmp_path)) == []


@pytest.mark.chaos
def test_two_starts_of_one_home_and_two_homes(system: System, own_system: System) -> None:
    assert system.api != own_system.api
    second = subprocess.run(
        [sys.executable, "-P", "-m", "libs.cli.main", "up"],
        env=system.stage.environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert second.returncode == 4
    assert system.api in second.stderr
    own_system.create("ONLY_HERE", "x")
    assert system.http("GET", "/v1/config-variables/ONLY_HERE").status == 404
    eventually(lambda: own_system.http("GET", "/v1/config-variables/ONLY_HERE").status == 200, "it is there")


def test_every_request_through_a_gateway_is_on_record(system: System, provider: Provider, tmp_path: Path) -> None:
    provider.accepted = {"sk-logged"}
    system.create("LOGGED_KEY", "sk-logged")
    config = tmp_path / "policy-config.yaml"
    config.write_text(ENV_CONFIG.format(url=provider.url).replace("env: OPENAI_API_KEY", "store: LOGGED_KEY"))
    run = ("gateway", "run", "--name", "logged", "--listen", "127.0.0.1:0", "--policy-config", str(config))
    gateway = system.stage.start(*run, until="ready ").split()[1]
    client = system.kt("token", "issue", "--role", "client", "--name", "search-team", "--ttl", "1h").strip()
    body = {"model": "gpt-4o-mini", "messages": []}
    for _ in range(5):
        assert call("POST", f"{gateway}/v1/chat/completions", client, body).status == 200
    provider.accepted = set()
    assert call("POST", f"{gateway}/v1/chat/completions", client, body).status == 401
    assert call("POST", f"{gateway}/v1/chat/completions", "nobody", body).status == 401
    eventually(
        lambda: bool(found(system, "gateway=logged AND actor=search-team AND outcome=failure")), "recorded", 30
    )
    process = system.stage.processes.pop()
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0
    (ended,) = found(system, "gateway=logged AND action=end_log")
    records = found(system, f"correlation={ended['epoch']}")
    assert [record["sequence"] for record in reversed(records)] == list(range(1, 10))
    assert (ended["served"], ended["failed"], ended["refused"], ended["unrecorded"]) == (5, 1, 1, 0)
    (failed,) = found(system, "gateway=logged AND actor=search-team AND outcome=failure")
    assert system.kt("gateway", "check-log", "--name", "logged").split()[-1] == "whole"
    what = ("reason", "target", "reference", "version", "earliest_version", "status")
    assert [failed[name] for name in what] == ["provider_unauthorized", "openai-primary", "LOGGED_KEY", 1, 1, 401]


def test_readings_of_the_log_and_refused_operations_are_on_record(system: System) -> None:
    auditor = system.kt("token", "issue", "--role", "auditor", "--name", "curious", "--ttl", "1h").strip()
    assert call("GET", f"{system.api}/v1/events?filter=category%3Dsecret_management", auditor).status == 200
    for _ in range(3):
        refused = call("POST", f"{system.api}/v1/config-variables", auditor, {"name": "MINE", "value": "x"})
        assert refused.status == 403
    (read,) = found(system, "actor=curious AND action=read")
    assert read == {"operation": "list", "filter": "category=secret_management", "continued": False}
    filter_ = "actor=curious AND type=kt.operation.denied.v1"
    eventually(lambda: sum(denied["count"] for denied in found(system, filter_)) == 3, "all refusals on record", 30)
    assert {denied["scope"] for denied in found(system, filter_)} == {"config_variables:write"}


def found(system: System, filter_: str) -> list[dict[str, Any]]:
    """The details of the events that a filter finds, newest first."""
    log = json.loads(system.kt("events", "list", "--filter", filter_, "--limit", "50", "--output", "json"))
    return [event["data"]["detail"] for event in log["items"]]


def test_the_log_is_kept_held_and_rebuilt(system: System) -> None:
    system.kt("events", "hold", "add", "case-17", "--from", "2026-01-01", "--reason", "Inquiry 17")
    assert "case-17" in system.kt("events", "hold", "list")
    month, *_ = json.loads(system.kt("events", "retention", "show", "-o", "json"))["months"]
    assert month["held_by"] == ["case-17"]
    assert system.kt("events", "retention", "set", "30", code=2) == ""
    before = json.loads(system.kt("events", "list", "--filter", "type!=kt.audit.read.v1", "-o", "json"))["items"]
    rebuilt = json.loads(system.kt("events", "rebuild", "-o", "json"))
    assert (rebuilt["phase"], rebuilt["detail"]) == ("completed", "")
    after = json.loads(system.kt("events", "list", "--filter", "type!=kt.audit.read.v1", "-o", "json"))["items"]
    assert after[0]["type"] == "kt.audit_log.rebuilt.v1"
    assert after[0]["data"]["detail"]["requested_by"].startswith("admin/")
    assert [event["id"] for event in after[1:]] == [event["id"] for event in before][: len(after) - 1]
    system.kt("events", "hold", "remove", "case-17", "--reason", "closed")

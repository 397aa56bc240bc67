"""Access tokens and their signing keys in a whole system: rotated under load, revoked everywhere, over restarts."""

from __future__ import annotations

import json
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import jwt

from demo.stage import call, eventually
from tests.e2e.conftest import System


@contextmanager
def under_load(system: System, *tokens: str) -> Iterator[dict[int, int]]:
    """Requests with these tokens all the while; how often which status was answered."""
    answers: dict[int, int] = {}
    done = threading.Event()

    def ask(token: str) -> None:
        while not done.wait(0.005):
            status = call("GET", f"{system.api}/v1/config-variables?limit=1", token).status
            answers[status] = answers.get(status, 0) + 1

    threads = [threading.Thread(target=ask, args=(token,)) for token in tokens]
    for thread in threads:
        thread.start()
    try:
        yield answers
    finally:
        done.set()
        for thread in threads:
            thread.join(20)


def test_signing_keys_are_rotated_under_load_without_a_failed_request(system: System) -> None:
    file = system.stage.home / "jwt.keys"
    old = file.read_text().strip()
    (old_kid, _), new_kid = old.split(":", 1), "2026b"
    worker = system.kt("token", "issue", "--role", "machine", "--name", "worker", "--ttl", "1h").strip()
    operator = system.kt("token", "issue", "--role", "operator", "--name", "alice", "--ttl", "1h").strip()
    with under_load(system, operator, operator) as answers:
        file.write_text(f"{old},{new_kid}:{secrets.token_urlsafe(32)}\n")
        assert system.kt("reload") == f"reloaded {old_kid}, {new_kid} (signs)\n"
        eventually(lambda: answers.get(200, 0) > 40, "requests go on")
    assert set(answers) == {200}

    renewed = system.kt("token", "issue", "--role", "operator", "--name", "alice", "--ttl", "1h").strip()
    assert jwt.get_unverified_header(renewed)["kid"] == new_kid
    with under_load(system, renewed) as answers:
        file.write_text(file.read_text().strip().partition(",")[2])
        assert system.kt("reload") == f"reloaded {new_kid} (signs)\n"
        eventually(lambda: answers.get(200, 0) > 10, "requests go on")
    assert set(answers) == {200}
    for token in (operator, worker, system.token):
        refused = call("GET", f"{system.api}/v1/config-variables", token)
        assert (refused.status, refused.body["reason"]) == (401, "unknown_key")
    system.token = (system.stage.home / "admin.token").read_text().strip()
    assert system.http("GET", "/v1/config-variables").status == 200

    good = file.read_text()
    file.write_text(f'{new_kid}:"{secrets.token_urlsafe(32)}"')
    system.kt("reload", code=2)
    assert "entry 1 has quotes" in system.kt("status")
    assert call("GET", f"{system.api}/v1/config-variables", renewed).status == 200
    file.write_text(good)
    assert system.kt("reload") == f"reloaded {new_kid} (signs)\n"

    query = ("events", "list", "--filter", "type=kt.signing_keys.changed.v1", "--output", "json")
    changes = [event["data"]["detail"]["kids"] for event in json.loads(system.kt(*query))["items"]]
    assert changes == [[new_kid], [old_kid, new_kid], [old_kid]]


def test_a_revoked_token_is_refused_at_once_and_after_a_restart_of_everything(system: System) -> None:
    lost, kept, elsewhere = (
        system.kt("token", "issue", "--role", role, "--name", name, "--ttl", "1h").strip()
        for role, name in (("operator", "laptop"), ("operator", "desk"), ("auditor", "mallory"))
    )
    path = f"{system.api}/v1/config-variables"
    assert [call("GET", path, token).status for token in (lost, kept, elsewhere)] == [200] * 3

    leaked = system.stage.home.parent / "leaked.token"
    leaked.write_text(lost)
    assert system.kt("token", "revoke", "--leaked-token", str(leaked)).startswith("revoked operator token of laptop")
    assert call("GET", path, lost).body["reason"] == "revoked"
    assert system.kt("token", "revoke", "--name", "mallory").startswith("revoked auditor token of mallory")
    assert call("GET", path, elsewhere).status == 401
    assert call("GET", path, kept).status == 200
    assert "was revoked before" in system.kt("token", "revoke", "--leaked-token", str(leaked))

    system.stage.close()
    system.api = system.stage.start("up", until="ready ").split()[1]
    path = f"{system.api}/v1/config-variables"
    assert [call("GET", path, token).status for token in (lost, kept, elsewhere)] == [401, 200, 401]
    items = json.loads(system.kt("token", "list", "--output", "json"))["items"]
    assert {item["name"]: item["state"] for item in items if item["name"] in ("laptop", "desk", "mallory")} == {
        "laptop": "revoked",
        "desk": "active",
        "mallory": "revoked",
    }
    query = ("events", "list", "--filter", "type=kt.token.revoked.v1", "--output", "json")
    revoked = [event["data"]["detail"]["name"] for event in json.loads(system.kt(*query))["items"]]
    assert revoked == ["mallory", "laptop"]

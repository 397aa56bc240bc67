"""Access tokens and their signing keys in a whole system: rotated under load, revoked everywhere, over restarts."""

from __future__ import annotations

import asyncio
import json
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import jwt
import nats

from demo.__main__ import CHAT, CONFIG
from demo.provider import Provider
from demo.stage import Stage, call, eventually
from libs.common.errors import KtError
from libs.common.hpke import BoxPrivateKey
from libs.common.messaging.identities import Credentials, NkeyKind, credentials, new_seed, public_key
from libs.common.messaging.rpc import RpcClient
from libs.common.protocol.resolver import (
    GATEWAY_REPORT,
    GATEWAY_RESOLVE,
    GatewayReport,
    ResolveForGateway,
)
from libs.common.subjects import GatewayIdentity, gateway_subject
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

    def refused_ids() -> set[str]:
        query = ("events", "list", "--filter", "type=kt.token.refused.v1 AND actor=laptop", "--output", "json")
        events = [event["data"] for event in json.loads(system.kt(*query))["items"]]
        assert {event["detail"]["reason"] for event in events} <= {"revoked"}
        return {event["resource"]["id"] for event in events}

    lost_id = jwt.decode(lost, options={"verify_signature": False})["jti"]
    eventually(lambda: refused_ids() == {lost_id}, "what was refused is on record", 30)


@dataclass(frozen=True)
class OnTheBus:
    """Somebody with the bus identity of a gateway, and no agent of ours."""

    url: str
    gateway: GatewayIdentity
    credentials: Credentials

    @classmethod
    def with_token(cls, system: System, token: str) -> OnTheBus:
        seed = new_seed(NkeyKind.USER)
        path = f"{system.api}/v1/machine/bus-identity"
        granted = call("POST", path, token, {"user_public_key": public_key(seed)}).body
        gateway = GatewayIdentity(granted["org"], granted["name"], granted["token_id"])
        return cls(granted["nats_url"], gateway, credentials(granted["user_jwt"], seed))

    def resolve(self, name: str) -> str:
        """The status, or the reason why not."""

        async def ask() -> str:
            client = await nats.connect(self.url, **self.credentials.connect_options())
            try:
                key = BoxPrivateKey.generate().public.encoded
                request = ResolveForGateway(references=[name], recipient_key=key, purpose="rotation")
                subject = gateway_subject(self.gateway, "resolve")
                (result,) = (await RpcClient(client).call(GATEWAY_RESOLVE, request, subject=subject)).results
                return result.reason or result.status
            finally:
                await client.close()

        return asyncio.run(ask())

    def report(self) -> str:
        async def ask() -> str:
            client = await nats.connect(self.url, **self.credentials.connect_options())
            try:
                subject = gateway_subject(self.gateway, "report")
                await RpcClient(client).call(GATEWAY_REPORT, GatewayReport(kind="config_loaded"), subject=subject)
            except KtError as error:
                return error.code
            finally:
                await client.close()
            return "noted"

        return asyncio.run(ask())


def processes(system: System) -> dict[str, int]:
    return {p["name"]: p["pid"] for p in json.loads(system.kt("status", "--output", "json"))["processes"]}


def test_a_gateway_serves_until_its_token_is_revoked_and_another_one_of_its_name_goes_on(
    system: System, tmp_path: Path
) -> None:
    first, second = f"sk-{secrets.token_hex(16)}", f"sk-{secrets.token_hex(16)}"
    provider, before = Provider(first, second), processes(system)
    assert system.create("EDGE_KEY", first).status == 201
    issue = ("token", "issue", "--role", "gateway", "--name", "edge", "--reference", "EDGE_*", "--ttl", "1h")
    lost, kept = system.kt(*issue).strip(), system.kt(*issue).strip()
    stranger, colleague = OnTheBus.with_token(system, lost), OnTheBus.with_token(system, kept)
    assert (stranger.resolve("EDGE_KEY"), colleague.resolve("EDGE_KEY")) == ("resolved", "resolved")
    assert stranger.report() == "noted"

    elsewhere = Stage(tmp_path / "elsewhere", {"KEEPTRUSTS_API_URL": system.api, "KEEPTRUSTS_TOKEN": lost})
    config = tmp_path / "policy-config.yaml"
    config.write_text(CONFIG.format(url=provider.url, store="EDGE_KEY"))
    run = ("gateway", "run", "--name", "edge", "--listen", "127.0.0.1:0", "--policy-config", str(config))
    try:
        target = f"{elsewhere.start(*run, until='ready ').split()[1]}/v1/chat/completions"
        assert processes(system) == before, "adding a gateway restarts nothing"
        client = system.kt("token", "issue", "--role", "client", "--name", "app", "--ttl", "1h").strip()
        lost_client = system.kt("token", "issue", "--role", "client", "--name", "old-app", "--ttl", "1h").strip()
        assert [call("POST", target, token, CHAT).status for token in (client, lost_client)] == [200, 200]
        system.kt("token", "revoke", "--name", "old-app")
        eventually(lambda: call("POST", target, lost_client, CHAT).status == 403, "the client is refused", 30)
        assert call("POST", target, client, CHAT).status == 200

        system.kt("token", "revoke", stranger.gateway.token_id)
        assert (stranger.resolve("EDGE_KEY"), stranger.report()) == ("not_permitted", "forbidden")
        eventually(lambda: call("POST", target, client, CHAT).status == 503, "its key is withdrawn", 30)

        rotated = system.http("POST", "/v1/config-variables/EDGE_KEY/rotate", {"value": second})
        assert rotated.status == 200
        assert colleague.resolve("EDGE_KEY") == "resolved"
        assert call("POST", target, client, CHAT).status == 503
        assert provider.seen[second] == 0
    finally:
        elsewhere.close()
        provider.close()
    body = {"user_public_key": public_key(new_seed(NkeyKind.USER))}
    refused = call("POST", f"{system.api}/v1/machine/bus-identity", lost, body)
    assert (refused.status, refused.body["reason"]) == (401, "revoked")

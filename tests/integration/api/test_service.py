"""The api service as a process of its own on a real bus, with the other services played on their own identities."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

import jwt
import pytest
from nats.aio.msg import Msg

from libs.common.auth.token_keys import TokenKeys
from libs.common.auth.tokens import token_claims
from libs.common.errors import Exit
from libs.common.messaging.identities import NkeyKind, credentials, new_seed, public_key
from libs.common.messaging.rpc import Endpoint, Message, RpcClient, answer
from libs.common.protocol import audit, command, keys, resolver, tokens, webhooks
from libs.common.secret import Secret
from libs.common.service import HealthReply, health_endpoint
from libs.common.subjects import GatewayIdentity, gateway_subject
from tests.engines import Bus, eventually
from tests.unit.api.system import TRANSPORT, boxed_reply, outcome, view

JWT_SECRET = "Kq3v-8Zt_mWc5yRb2xNe7uJf4sLd9gPh1oTa6iVkQ0c"
KEYS = TokenKeys({"kid1": Secret.from_text(JWT_SECRET)})
VALUE = "sk-proj-unique-value-7d1f0a55c2"
SIGNED = "signed.for.client"


def token(role: str, name: str = "someone", token_id: str = "j1") -> str:
    return KEYS.sign(
        token_claims(
            token_id=token_id,
            subject=name,
            org="default",
            role=role,
            issued=datetime.now(UTC),
            ttl_s=600,
            references=("*",),
        )
    )


ADMIN = token("admin")


@dataclass(frozen=True, slots=True)
class Answered:
    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Api:
    """The process, and what it wrote to its log."""

    process: asyncio.subprocess.Process
    log: Path
    port: int = 0

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]

    def is_listening(self) -> bool:
        ports = [line["port"] for line in self.lines() if line["event"] == "api.listening"]
        self.port = ports[0] if ports else 0
        return bool(ports)

    async def ask(self, method: str, path: str, body: object = None, bearer: str = ADMIN) -> Answered:
        return await asyncio.to_thread(self._ask, method, path, body, bearer)

    def _ask(self, method: str, path: str, body: object, bearer: str) -> Answered:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        headers = {"Authorization": f"Bearer {bearer}", "Content-Type": "application/json"}
        try:
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            response = connection.getresponse()
            return Answered(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
        finally:
            connection.close()


async def spawn(bus: Bus, log: Path, **changes: str | None) -> asyncio.subprocess.Process:
    environment = {
        "PATH": os.environ["PATH"],
        "KEEPTRUSTS_NATS_URL": bus.url,
        "KEEPTRUSTS_NATS_CREDS": str(bus.creds("api")),
        "KEEPTRUSTS_NATS_ACCOUNT": bus.account,
        "KEEPTRUSTS_GATEWAY_SIGNING_SEED_FILE": str(bus.gateway_signing_seed_file),
        "KEEPTRUSTS_JWT_VERIFICATION_KEYS": f"kid1:{JWT_SECRET}",
        "KEEPTRUSTS_API_PORT": "0",
        **changes,
    }
    with log.open("wb") as stderr:
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "services.api.main",
            env={name: value for name, value in environment.items() if value is not None},
            stderr=stderr,
        )


@asynccontextmanager
async def running_api(bus: Bus, directory: Path, **changes: str | None) -> AsyncIterator[Api]:
    api = Api(await spawn(bus, directory / "api.log", **changes), directory / "api.log")
    try:
        await eventually(api.is_listening)
        yield api
    finally:
        if api.process.returncode is None:
            api.process.terminate()
        code = await asyncio.wait_for(api.process.wait(), 30)
    assert code == Exit.OK, api.log.read_text()


async def play(
    bus: Bus,
    service: str,
    answers: Mapping[Endpoint[Any, Any], Any],
    otherwise: Mapping[Endpoint[Any, Any], Any] | None = None,
) -> None:
    """Answer these endpoints under the identity of ``service``, those of ``otherwise`` in that way, and say that it
    is ready."""
    client = await bus.connect(service)
    ready = {health_endpoint(service): lambda _: HealthReply(service=service, ready=True)}
    for endpoint, usual in {**answers, **ready}.items():
        chosen = (otherwise or {}).get(endpoint, usual)

        async def handle(message: Msg, endpoint: Endpoint[Any, Any] = endpoint, function: Any = chosen) -> None:
            async def handler(_subject: str, request: Message) -> Message:
                reply: Message = function(request)
                return reply

            await message.respond(await answer(endpoint, handler, message.subject, message.data))

        await client.subscribe(endpoint.subject, queue=service, cb=handle)
    await client.flush()


async def play_all(bus: Bus, otherwise: Mapping[Endpoint[Any, Any], Any] | None = None) -> None:
    """``otherwise`` are endpoints that answer in another way."""
    await play(
        bus,
        "keys",
        {
            keys.TRANSPORT_KEY: lambda _: keys.TransportKeyReply(key_id="t1", public_key=TRANSPORT.public.encoded),
            keys.SIGN_CLIENT_TOKEN: signed_for_client,
            keys.CLIENT_KEYS: lambda _: keys.ClientKeysReply(jwks={"keys": []}),
            keys.STATUS: lambda _: keys.KeysStatusReply(master_fingerprint="ab12", entries=[]),
        },
    )
    await play(
        bus,
        "command",
        {
            command.CONFIG_VARIABLE: stored,
            command.GATEWAY: lambda _: command.Recorded(sequence=1),
            command.TOKEN: lambda _: command.Recorded(sequence=1),
            command.SIGNING_KEYS: lambda _: command.Recorded(sequence=1),
            tokens.REVOKE_TOKEN: revoked,
        },
        otherwise,
    )
    await play(
        bus,
        "resolver",
        {
            resolver.GET: lambda r: view(r.name, sensitive=False),
            resolver.REVEAL: resolved,
            resolver.RESOLVE: resolved,
            resolver.LIST: lambda _: resolver.SecretList(items=[view("A")], more=False),
            resolver.HISTORY: lambda _: resolver.SecretHistory(items=[]),
            resolver.GATEWAYS: lambda _: resolver.GatewayList(items=[]),
            tokens.LIST_TOKENS: lambda _: tokens.TokenList(items=[], more=False),
            tokens.REVOCATIONS: lambda r: tokens.RevocationList(items=[], position=r.after, more=False),
            resolver.GATEWAY_BOOTSTRAP: lambda _: resolver.GatewayBootstrapReply(org="default", client_jwks={}),
        },
        otherwise,
    )
    await play(bus, "audit", {audit.LIST: lambda _: audit.EventPage(items=["{}"], positions=[], next_cursor="")})
    await play(bus, "webhooks", {webhooks.LIST: lambda _: webhooks.WebhookList(items=[], next_after=0)})


def signed_for_client(request: keys.SignClientTokenRequest) -> keys.SignClientTokenReply:
    from libs.common.hpke import BoxPublicKey  # noqa: PLC0415 - one use

    context = keys.client_token_context(request.org, request.recipient_key)
    box = BoxPublicKey(request.recipient_key).seal(Secret.from_text(SIGNED), context)
    return keys.SignClientTokenReply(box=box, key_id="c1")


def stored(request: command.SecretCommand) -> command.SecretOutcome:
    """As the command service: a value has to be one that the key service can open."""
    if request.value is not None:
        context = keys.seal_context(request.caller.org, "config_variable", request.name)
        assert TRANSPORT.open(request.value.box, context) == Secret.from_text(VALUE)
    return outcome(request)


def revoked(_request: tokens.RevokeToken) -> tokens.TokenRevocation:
    return tokens.TokenRevocation(sequence=1, role="", name="", expires_at=0, repeated=False)


def resolved(request: Any) -> resolver.ResolveReply:
    caller = request.caller
    names = [request.name] if isinstance(request, resolver.RevealRequest) else request.references
    return boxed_reply(
        caller.org, f"{caller.actor_type}/{caller.actor_id}", request.recipient_key, dict.fromkeys(names, VALUE)
    )


@pytest.fixture
async def api(nats_server: Bus, tmp_path: Path) -> AsyncIterator[Api]:
    await play_all(nats_server)
    async with running_api(nats_server, tmp_path) as started:
        await eventually(lambda: _is_ready(started))
        yield started


PATH = "/v1/config-variables"
REQUESTS: list[tuple[str, str, object, int]] = [
    ("POST", PATH, {"name": "A", "value": VALUE}, 201),
    ("GET", PATH, None, 200),
    ("GET", f"{PATH}/A", None, 200),
    ("PATCH", f"{PATH}/A", {"description": "new"}, 200),
    ("POST", f"{PATH}/A/rotate", {"value": VALUE}, 200),
    ("POST", f"{PATH}/A/rollback", {"version": 1}, 200),
    ("GET", f"{PATH}/A/history", None, 200),
    ("DELETE", f"{PATH}/A", None, 204),
    ("GET", "/v1/machine/config-variables/A", None, 200),
    ("POST", "/v1/machine/resolve", {"references": ["A", "B"]}, 200),
    ("GET", "/v1/gateways", None, 200),
    ("GET", "/v1/events?filter=category%3Dsecret_management", None, 200),
    ("GET", "/v1/encryption-keys", None, 200),
    ("POST", "/v1/tokens", {"role": "machine", "name": "ci"}, 201),
    ("POST", "/v1/tokens", {"role": "client", "name": "app"}, 201),
    ("GET", "/v1/client-keys", None, 200),
    ("GET", "/v1/webhooks", None, 200),
    ("GET", "/v1/tokens?state=active", None, 200),
    ("DELETE", "/v1/tokens/some-id", None, 200),
    ("POST", "/v1/tokens/revoke", {"id": "another:id"}, 200),
    ("GET", "/readyz", None, 200),
    ("GET", "/metrics", None, 200),
    ("GET", "/openapi.json", None, 200),
]


async def test_every_question_reaches_who_answers_it_with_the_permissions_of_the_api_service(api: Api) -> None:
    for method, path, body, status in REQUESTS:
        answered = await api.ask(method, path, body)
        assert answered.status == status, (method, path, answered.body)

    log = api.log.read_text()
    assert VALUE not in log
    assert ADMIN not in log
    assert JWT_SECRET not in log
    routes = {line["route"] for line in api.lines() if line["event"] == "http.request"}
    assert f"{PATH}/{{name}}/rotate" in routes


async def test_a_gateway_connects_with_the_identity_it_is_given_and_speaks_only_as_itself(
    api: Api, nats_server: Bus
) -> None:
    seed = new_seed(NkeyKind.USER)
    body = {"user_public_key": public_key(seed)}

    granted = (await api.ask("POST", "/v1/machine/bus-identity", body, token("gateway", "edge-1"))).json()

    assert (granted["name"], granted["nats_url"]) == ("edge-1", nats_server.url)
    client = RpcClient(await nats_server.connect(credentials(granted["user_jwt"], seed)))
    subject = gateway_subject(GatewayIdentity("default", "edge-1", "j1"), "bootstrap")
    reply = await client.call(resolver.GATEWAY_BOOTSTRAP, resolver.GatewayBootstrap(), subject=subject)
    assert reply.org == "default"
    another = gateway_subject(GatewayIdentity("default", "edge-2", "j1"), "bootstrap")
    with pytest.raises(Exception, match="did not answer"):
        await client.call(resolver.GATEWAY_BOOTSTRAP, resolver.GatewayBootstrap(), subject=another, timeout_s=0.3)


async def test_a_key_that_is_no_user_key_gets_no_identity(api: Api) -> None:
    for key in ("", "U", "A" * 56, public_key(new_seed(NkeyKind.ACCOUNT))):
        answered = await api.ask("POST", "/v1/machine/bus-identity", {"user_public_key": key, "name": "edge-1"})
        assert (answered.status, answered.json()["code"]) == (422, "invalid_request")


async def test_without_the_others_it_runs_and_says_who_is_missing(nats_server: Bus, tmp_path: Path) -> None:
    async with running_api(nats_server, tmp_path) as api:
        health, readiness = await api.ask("GET", "/healthz"), await api.ask("GET", "/readyz")
        created = await api.ask("POST", PATH, {"name": "A", "value": VALUE})

    assert health.status == 200
    assert readiness.status == 503
    assert set(readiness.json()["services"]) == {"keys", "command", "resolver", "audit", "webhooks"}
    assert not any(readiness.json()["services"].values())
    assert (created.status, created.json()["code"]) == (503, "unavailable")


async def test_keys_are_read_anew_on_sighup_while_requests_go_on(nats_server: Bus, tmp_path: Path) -> None:
    await play_all(nats_server)
    file, new_secret = tmp_path / "jwt.keys", "vW4mZ8qTxR2kLp6sYc9nFb3hJg7eUa1oWiD5d0Qk_t7e"
    file.write_text(f"kid1:{JWT_SECRET}\n")
    given = {"KEEPTRUSTS_JWT_VERIFICATION_KEYS": None, "KEEPTRUSTS_JWT_VERIFICATION_KEYS_FILE": str(file)}
    async with running_api(nats_server, tmp_path, **given) as api:
        await eventually(lambda: _is_ready(api))
        statuses: list[int] = []
        done = asyncio.Event()

        async def ask_on(bearer: str) -> None:
            while not done.is_set():
                statuses.append((await api.ask("GET", PATH, bearer=bearer)).status)

        async def reloaded(text: str) -> dict[str, Any]:
            before = (await api.ask("GET", "/readyz")).json()["signing_keys"]
            file.write_text(text)
            api.process.send_signal(signal.SIGHUP)

            async def told() -> bool:
                return bool((await api.ask("GET", "/readyz")).json()["signing_keys"] != before)

            await eventually(told)
            found: dict[str, Any] = (await api.ask("GET", "/readyz")).json()["signing_keys"]
            return found

        load = [asyncio.create_task(ask_on(ADMIN)) for _ in range(2)]
        both = f"kid1:{JWT_SECRET},kid2:{new_secret}"
        assert (await reloaded(both))["kids"] == ["kid1", "kid2"]
        issued = (await api.ask("POST", "/v1/tokens", {"role": "admin", "name": "new"})).json()["token"]
        assert jwt.get_unverified_header(issued)["kid"] == "kid2"
        for text, said in (
            (f'{both},"kid3:{new_secret}"', "entry 3"),
            (both.encode("utf-16").decode("latin-1"), "encoded"),
        ):
            found = await reloaded(text)
            assert (found["kids"], said in found["refused"]["detail"]) == (["kid1", "kid2"], True)
        load.append(asyncio.create_task(ask_on(issued)))
        enough = len(statuses) + 20
        await eventually(lambda: len(statuses) >= enough)
        done.set()
        await asyncio.gather(*load)
        assert set(statuses) == {200}
        assert (await reloaded(f"kid2:{new_secret}"))["kids"] == ["kid2"]
        assert (await api.ask("GET", PATH, bearer=ADMIN)).json()["reason"] == "unknown_key"
        assert (await api.ask("GET", PATH, bearer=issued)).status == 200
    log = api.log.read_text()
    assert [line["in_force"] for line in api.lines() if line["event"] == "signing_keys.refused"] == [
        ["kid1", "kid2"]
    ] * 2
    assert JWT_SECRET not in log
    assert new_secret not in log


async def test_what_one_instance_revokes_another_refuses_within_a_second(nats_server: Bus, tmp_path: Path) -> None:
    """The resolver is the only thing the two have in common; without it both let nobody in after a while."""
    revocations: list[tokens.Revocation] = []

    def revoke(request: tokens.RevokeToken) -> tokens.TokenRevocation:
        revocations.append(tokens.Revocation(org="default", token_id=request.token_id, expires_at=0))
        return revoked(request)

    def told(request: tokens.ListRevocations) -> tokens.RevocationList:
        return tokens.RevocationList(items=revocations[request.after :], position=len(revocations), more=False)

    await play_all(nats_server, {tokens.REVOKE_TOKEN: revoke, tokens.REVOCATIONS: told})
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    async with running_api(nats_server, tmp_path / "one") as one, running_api(nats_server, tmp_path / "two") as two:
        for api in (one, two):
            await eventually(lambda api=api: _is_ready(api))
        took: list[float] = []
        for number in range(5):
            leaked = token("operator", token_id=f"leaked-{number}")
            assert (await two.ask("GET", PATH, bearer=leaked)).status == 200
            assert (await one.ask("DELETE", f"/v1/tokens/leaked-{number}")).status == 200
            revoked_at = asyncio.get_running_loop().time()
            assert (await one.ask("GET", PATH, bearer=leaked)).json()["reason"] == "revoked"

            async def refused(leaked: str = leaked) -> bool:
                return (await two.ask("GET", PATH, bearer=leaked)).status == 401

            await eventually(refused)
            took.append(asyncio.get_running_loop().time() - revoked_at)
        assert median(took) < 1.0
        assert (await two.ask("GET", PATH)).status == 200


async def test_a_bus_that_is_gone_is_told_at_once_and_comes_back(api: Api, nats_server: Bus) -> None:
    await nats_server.kill()
    await eventually(lambda: _answers(api, 503))
    await nats_server.restart()
    await eventually(lambda: _answers(api, 200))


@pytest.mark.parametrize(
    ("changes", "code", "said"),
    [
        ({"KEEPTRUSTS_JWT_VERIFICATION_KEYS": None}, Exit.USAGE, "KEEPTRUSTS_JWT_VERIFICATION_KEYS is not set"),
        ({"KEEPTRUSTS_JWT_VERIFICATION_KEYS": "kid1:short-secret"}, Exit.USAGE, "key material"),
        ({"KEEPTRUSTS_API_PORT": "70000"}, Exit.USAGE, "KEEPTRUSTS_API_PORT"),
        ({"KEEPTRUSTS_API_HOST": "203.0.113.1"}, Exit.USAGE, "can't listen on 203.0.113.1"),
        ({"KEEPTRUSTS_GATEWAY_SIGNING_SEED_FILE": "/nowhere"}, Exit.USAGE, "GATEWAY_SIGNING_SEED_FILE"),
        ({"KEEPTRUSTS_NATS_ACCOUNT": None}, Exit.USAGE, "KEEPTRUSTS_NATS_ACCOUNT"),
    ],
)
async def test_a_configuration_that_can_t_work_ends_with_a_sentence(
    nats_server: Bus, tmp_path: Path, changes: dict[str, str | None], code: Exit, said: str
) -> None:
    process = await spawn(nats_server, tmp_path / "api.log", **changes)

    assert await asyncio.wait_for(process.wait(), 30) == code
    log = (tmp_path / "api.log").read_text()
    assert said in log
    assert "short-secret" not in log
    assert "Traceback" not in log


async def _is_ready(api: Api) -> bool:
    return (await api.ask("GET", "/readyz")).status == 200


async def _answers(api: Api, status: int) -> bool:
    return (await api.ask("GET", f"{PATH}/A/history")).status == status

"""The gateway's side of the bus, on a real NATS server: identity, keys, changes, reports."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import orjson
import pytest
from nats.aio.msg import Msg

from libs.common.clock import SystemClock
from libs.common.errors import KtError
from libs.common.hpke import BoxPublicKey
from libs.common.messaging.identities import gateway_jwt
from libs.common.messaging.rpc import Endpoint, Message, answer
from libs.common.protocol.keys import resolve_context
from libs.common.protocol.resolver import (
    GATEWAY_REPORT,
    GATEWAY_RESOLVE,
    GatewayReport,
    Noted,
    Resolution,
    ResolveForGateway,
    ResolveReply,
)
from libs.common.secret import Secret
from libs.common.subjects import GatewayIdentity, event_subject
from services.gateway.adapters.api_client import ApiClient, BusIdentity
from services.gateway.adapters.bus import Bus
from services.gateway.adapters.bus_keys import BusKeys
from services.gateway.adapters.bus_reports import BusReports
from services.gateway.application.ports import Report, ReportKind, TargetVersion
from services.gateway.domain.references import Purpose, Reason, Reference, ReferenceKind, Resolved, Unresolved
from tests.engines import Bus as NatsServer
from tests.engines import eventually
from tests.integration.gateway.running import fake_api

ORG, NAME, TOKEN = "default", "edge-1", "token-1"
KEY = Reference(ReferenceKind.STORE, "provider.key")


@dataclass
class Identities:
    """Signs identities as the API does; ``ttl_s`` is how long they last."""

    server: NatsServer
    ttl_s: float = 600
    refusing: bool = False
    granted: int = 0

    async def bus_identity(self, name: str, user_public_key: str) -> BusIdentity:
        if self.refusing:
            raise KtError("unreachable", "The API can't be reached.")
        self.granted += 1
        now = datetime.now(UTC)
        expires = now + timedelta(seconds=self.ttl_s)
        seed = Secret(self.server.gateway_signing_seed_file.read_bytes())
        user_jwt = gateway_jwt(
            seed,
            self.server.account,
            GatewayIdentity(ORG, name, TOKEN),
            user=user_public_key,
            now=now,
            expires=expires,
        )
        return BusIdentity(self.server.url, user_jwt, expires, GatewayIdentity(ORG, name, TOKEN))


@dataclass
class Listener:
    names: list[str] = field(default_factory=list)
    gaps: int = 0

    def changed(self, reference: Reference) -> None:
        self.names.append(reference.in_system)

    def missed(self) -> None:
        self.gaps += 1


@dataclass
class Resolver:
    """Answers as the resolver service does, with the resolver's permissions."""

    values: dict[str, bytes] = field(default_factory=dict)
    requester: str = f"gateway/{NAME}"
    requests: list[tuple[str, ResolveForGateway]] = field(default_factory=list)
    reports: list[GatewayReport] = field(default_factory=list)
    taking_reports: bool = True

    async def resolve(self, subject: str, request: ResolveForGateway) -> ResolveReply:
        self.requests.append((subject, request))
        found = {name: self.values[name] for name in request.references if name in self.values}
        results = [
            Resolution(reference=name, status="resolved", version=3, sequence=7)
            if name in found
            else Resolution(reference=name, status="failed", reason="not_found")
            for name in request.references
        ]
        plain = orjson.dumps({name: base64.b64encode(value).decode() for name, value in found.items()})
        context = resolve_context(ORG, self.requester, request.recipient_key)
        return ResolveReply(results=results, box=BoxPublicKey(request.recipient_key).seal(Secret(plain), context))

    async def report(self, _subject: str, report: GatewayReport) -> Noted:
        if not self.taking_reports:
            raise KtError("unavailable", "Not now.")
        self.reports.append(report)
        return Noted()

    async def serve(self, server: NatsServer) -> None:
        client = await server.connect("resolver")

        def served(endpoint: Endpoint[Message, Message], handler: object) -> object:
            async def told(message: Msg) -> None:
                await message.respond(await answer(endpoint, handler, message.subject, message.data))  # type: ignore[arg-type]

            return told

        for endpoint, handler in ((GATEWAY_RESOLVE, self.resolve), (GATEWAY_REPORT, self.report)):
            cb = served(endpoint, handler)  # type: ignore[arg-type]
            await client.subscribe(endpoint.subject, queue=endpoint.queue, cb=cb)  # type: ignore[arg-type]
        await client.flush()


@asynccontextmanager
async def opened(server: NatsServer, identities: Identities | None = None) -> AsyncIterator[tuple[Bus, Listener]]:
    listener = Listener()
    bus = Bus(NAME, identities or Identities(server), listener, SystemClock())
    try:
        yield bus, listener
    finally:
        await bus.close()


async def resolved(bus: Bus) -> bytes:
    (resolution,) = await BusKeys(bus).resolve([KEY], Purpose.ROTATION)
    assert isinstance(resolution, Resolved)
    return resolution.value.reveal()


async def works(bus: Bus) -> bool:
    try:
        return await resolved(bus) == b"the-key"
    except KtError:
        return False


async def test_keys_come_sealed_and_with_their_version(nats_server: NatsServer) -> None:
    resolver = Resolver({KEY.name: b"the-key"})
    await resolver.serve(nats_server)
    missing = Reference(ReferenceKind.STORE, "missing")
    async with opened(nats_server) as (bus, _):
        found, failed = await BusKeys(bus).resolve([KEY, missing], Purpose.STARTUP)
    assert isinstance(found, Resolved)
    assert (found.value.reveal(), found.version, found.sequence) == (b"the-key", 3, 7)
    assert failed == Unresolved(missing, Reason.NOT_FOUND)
    ((subject, request),) = resolver.requests
    assert subject == "kt.gw.v1.default.edge-1.token-1.resolve"
    assert (request.references, request.purpose) == ([KEY.name, "missing"], "startup")


async def test_a_box_for_another_requester_is_not_opened(nats_server: NatsServer) -> None:
    await Resolver({KEY.name: b"the-key"}, requester="gateway/other").serve(nats_server)
    async with opened(nats_server) as (bus, _):
        with pytest.raises(KtError) as refused:
            await BusKeys(bus).resolve([KEY], Purpose.STARTUP)
    assert refused.value.code == "undecryptable"


async def test_many_references_are_asked_for_in_batches(nats_server: NatsServer) -> None:
    names = [f"K{number}" for number in range(250)]
    resolver = Resolver({name: name.encode() for name in names})
    await resolver.serve(nats_server)
    async with opened(nats_server) as (bus, _):
        references = [Reference(ReferenceKind.STORE, name) for name in names]
        resolutions = await BusKeys(bus).resolve(references, Purpose.STARTUP)
    assert [r.value.reveal().decode() for r in resolutions if isinstance(r, Resolved)] == names
    assert [len(request.references) for _, request in resolver.requests] == [100, 100, 50]


async def test_events_of_watched_variables_are_told_and_of_others_not(nats_server: NatsServer) -> None:
    command = await nats_server.connect("command")
    async with opened(nats_server) as (bus, listener):
        await bus.watch([KEY])
        for name in ("other", KEY.name):
            await command.request(event_subject(ORG, "config_variable", name), b"{}", timeout=5)
        await eventually(lambda: listener.names == [KEY.name])
        await bus.watch([])
        await command.request(event_subject(ORG, "config_variable", KEY.name), b"{}", timeout=5)
        await bus.watch([KEY])
        await command.request(event_subject(ORG, "config_variable", KEY.name), b"{}", timeout=5)
        await eventually(lambda: listener.names == [KEY.name] * 2)


async def test_a_revocation_of_its_token_makes_everything_due(nats_server: NatsServer) -> None:
    command = await nats_server.connect("command")
    async with opened(nats_server) as (bus, listener):
        await bus.watch([KEY])
        await command.request(event_subject(ORG, "token", "another"), b"{}", timeout=5)
        await command.request(event_subject(ORG, "config_variable", KEY.name), b"{}", timeout=5)
        await eventually(lambda: listener.names == [KEY.name])
        assert listener.gaps == 0
        await command.request(event_subject(ORG, "token", TOKEN), b"{}", timeout=5)
        await eventually(lambda: listener.gaps == 1)
        assert not bus.revocation.is_set()
        revoked = {"Kt-Type": "kt.token.revoked.v1"}
        await command.request(event_subject(ORG, "token", "a-client"), b"{}", timeout=5, headers=revoked)
        await eventually(bus.revocation.is_set)
        assert listener.gaps == 1


async def test_after_a_restart_of_the_server_it_is_back_and_says_that_it_missed_something(
    nats_server: NatsServer,
) -> None:
    resolver = Resolver({KEY.name: b"the-key"})
    await resolver.serve(nats_server)
    command = await nats_server.connect("command")
    async with opened(nats_server) as (bus, listener):
        await bus.watch([KEY])
        assert await works(bus)
        await nats_server.kill()
        with pytest.raises(KtError) as refused:
            await resolved(bus)
        assert refused.value.code == "unavailable"
        await nats_server.restart()
        await eventually(lambda: works(bus))
        await eventually(lambda: listener.gaps >= 1)

        async def told() -> bool:
            try:
                await command.request(event_subject(ORG, "config_variable", KEY.name), b"{}", timeout=1)
            except Exception:  # noqa: BLE001 - the other client reconnects in its own time
                return False
            return KEY.name in listener.names

        await eventually(told)


async def test_an_identity_is_renewed_before_it_expires(nats_server: NatsServer) -> None:
    await Resolver({KEY.name: b"the-key"}).serve(nats_server)
    identities = Identities(nats_server, ttl_s=2)
    async with opened(nats_server, identities) as (bus, listener):
        assert await works(bus)
        await eventually(lambda: identities.granted >= 3)
        await eventually(lambda: works(bus))
        await eventually(lambda: listener.gaps >= 1)


@pytest.mark.chaos
async def test_an_identity_that_expired_is_replaced_when_the_api_is_back(nats_server: NatsServer) -> None:
    await Resolver({KEY.name: b"the-key"}).serve(nats_server)
    identities = Identities(nats_server, ttl_s=1.5)
    async with opened(nats_server, identities) as (bus, _):
        assert await works(bus)
        identities.refusing = True

        async def lost() -> bool:
            return not await works(bus)

        await eventually(lost)
        identities.refusing, identities.ttl_s = False, 600
        await eventually(lambda: works(bus))


async def test_reports_arrive_in_order_and_survive_an_outage(nats_server: NatsServer) -> None:
    resolver = Resolver(taking_reports=False)
    await resolver.serve(nats_server)
    target = TargetVersion("t1", KEY, 2)
    async with opened(nats_server) as (bus, _):
        reports = BusReports(bus)
        sending = asyncio.create_task(reports.run())
        reports.report(Report(ReportKind.CONFIG_LOADED, "d" * 64, (target,)))
        reports.report(Report(ReportKind.RELOAD_REFUSED, "e" * 64, reason="unresolved"))
        await asyncio.sleep(0.1)
        resolver.taking_reports = True
        await eventually(lambda: len(resolver.reports) == 2)
        sending.cancel()
    loaded, refused = resolver.reports
    assert loaded.kind == "config_loaded"
    assert [(t.target, t.store, t.reference, t.version) for t in loaded.targets] == [("t1", "store", KEY.name, 2)]
    assert (refused.kind, refused.reason) == ("reload_refused", "unresolved")


async def test_the_identity_is_asked_for_at_the_api() -> None:
    granted = {
        "nats_url": "nats://127.0.0.1:4222",
        "user_jwt": "h.p.s",
        "expires_at": "2026-11-23T07:39:03.192164Z",
        "org": ORG,
        "name": NAME,
        "token_id": TOKEN,
    }
    async with fake_api(200, granted) as (url, requests):
        identity = await ApiClient(url, Secret(b"gateway-token")).bus_identity(NAME, "UABC")
    assert identity.expires_at == datetime(2026, 11, 23, 7, 39, 3, 192164, UTC)
    assert (identity.user_jwt, identity.gateway) == ("h.p.s", GatewayIdentity(ORG, NAME, TOKEN))
    (request,) = requests
    assert request.path == "/v1/machine/bus-identity"
    assert request.headers["authorization"] == "Bearer gateway-token"
    assert json.loads(request.body) == {"name": NAME, "user_public_key": "UABC"}


@pytest.mark.parametrize(
    ("status", "document", "code"),
    [
        (401, {"code": "unauthenticated", "detail": "No."}, "unauthenticated"),
        (403, {"code": "forbidden", "detail": "No."}, "forbidden"),
        (302, {"code": "x"}, "unavailable"),
        (200, {"org": ORG}, "unavailable"),
        (200, ["nonsense"], "unavailable"),
        (500, "nonsense", "unavailable"),
    ],
)
async def test_what_the_api_answers_is_told(status: int, document: object, code: str) -> None:
    async with fake_api(status, document) as (url, _):
        with pytest.raises(KtError) as refused:
            await ApiClient(url, Secret(b"gateway-token")).bus_identity(NAME, "UABC")
    assert refused.value.code == code


def test_a_token_that_is_no_header_is_refused_and_not_repeated() -> None:
    with pytest.raises(KtError) as refused:
        ApiClient("http://127.0.0.1:9", Secret(b"gateway-token\nx: y"))
    assert refused.value.code == "misconfigured"
    assert "gateway-token" not in str(refused.value)


async def test_an_api_that_is_down_is_unreachable() -> None:
    with pytest.raises(KtError) as refused:
        await ApiClient("http://127.0.0.1:9", Secret(b"gateway-token")).bus_identity(NAME, "UABC")
    assert refused.value.code == "unreachable"

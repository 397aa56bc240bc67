"""What the NATS server refuses, and what it lets through, for each identity."""

import json

import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.js.api import ConsumerConfig, DeliverPolicy
from nats.js.errors import BadRequestError

from libs.common.messaging.identities import Credentials
from tests.engines import Bus, eventually, running_nats


class Refusals:
    """Collects what the server refuses to one client."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    async def note(self, error: Exception) -> None:
        self.texts.append(str(error).lower())


async def connected(bus: Bus, identity: str | Credentials) -> tuple[Client, Refusals]:
    refusals = Refusals()
    return await bus.connect(identity, error_cb=refusals.note), refusals


async def assert_refused_to_publish(bus: Bus, identity: str | Credentials, subject: str) -> None:
    client, refusals = await connected(bus, identity)
    await client.publish(subject, b"{}")
    expected = f'permissions violation for publish to "{subject}"'.lower()
    await eventually(lambda: any(expected in text for text in refusals.texts))


async def assert_refused_to_subscribe(bus: Bus, identity: str | Credentials, subject: str, queue: str = "") -> None:
    client, refusals = await connected(bus, identity)
    await client.subscribe(subject, queue=queue)
    expected = f'permissions violation for subscription to "{subject}"'.lower()
    await eventually(lambda: any(expected in text for text in refusals.texts))


@pytest.mark.parametrize(
    ("identity", "subject"),
    [
        ("resolver", "kt.evt.v1.default.config_variable.A"),
        ("keys", "kt.evt.v1.default.encryption_key.A"),
        ("audit", "kt.evt.v1.default.config_variable.A"),
        ("api", "kt.evt.v1.default.config_variable.A"),
        ("command", "kt.access.v1.default.config_variable.A"),
        ("keys", "kt.access.v1.default.config_variable.A"),
        ("audit", "kt.access.v1.default.config_variable.A"),
        ("api", "kt.access.v1.default.config_variable.A"),
        ("api", "kt.keys.v1.open"),
        ("command", "kt.keys.v1.open"),
        ("audit", "kt.keys.v1.open"),
        ("resolver", "kt.keys.v1.seal"),
        ("resolver", "kt.cmd.v1.config_variable"),
        ("command", "kt.feed.v1.default.config_variable.A"),
        ("keys", "$JS.API.STREAM.DELETE.KT_EVENTS"),
        ("command", "$JS.API.STREAM.UPDATE.KT_EVENTS"),
        ("resolver", "$JS.API.STREAM.PURGE.KT_ACCESS"),
        ("audit", "$JS.API.STREAM.MSG.DELETE.KT_EVENTS"),
        ("audit", "$JS.API.STREAM.SNAPSHOT.KT_EVENTS"),
        ("api", "$JS.API.STREAM.INFO.KT_EVENTS"),
        ("command", "$JS.API.STREAM.INFO.KT_EVENTS"),
        ("keys", "$JS.API.STREAM.INFO.KT_ACCESS"),
        ("keys", "$JS.API.DIRECT.GET.KT_ACCESS"),
        ("keys", "$JS.API.CONSUMER.CREATE.KT_ACCESS"),
        ("api", "$JS.API.CONSUMER.CREATE.KT_EVENTS"),
        ("api", "$JS.API.DIRECT.GET.KT_EVENTS"),
        ("api", "_INBOX.svc.resolver.forged"),
        ("keys", "$SYS.REQ.SERVER.PING"),
        ("provisioner", "kt.evt.v1.default.config_variable.A"),
        ("provisioner", "kt.keys.v1.open"),
        ("backup", "kt.evt.v1.default.backup.A"),
        ("backup", "kt.cmd.v1.backup.created"),
        ("provisioner", "kt.cmd.v1.backup.restored"),
    ],
)
async def test_a_service_is_refused_what_is_not_its_own(nats_server: Bus, identity: str, subject: str) -> None:
    await assert_refused_to_publish(nats_server, identity, subject)


@pytest.mark.parametrize(
    ("identity", "subject", "queue"),
    [
        ("api", "kt.keys.v1.open", ""),
        ("resolver", "kt.keys.v1.open", "resolver"),
        ("resolver", "kt.cmd.v1.>", "command"),
        ("keys", "kt.keys.v1.open", "another"),
        ("command", "kt.cmd.v1.config_variable", ""),
        ("api", "_INBOX.svc.keys.>", ""),
        ("command", "_INBOX.>", ""),
        ("audit", "kt.health.v1.keys", ""),
        ("audit", ">", ""),
        ("audit", "kt.evt.v1.>", ""),
        ("provisioner", "kt.evt.v1.>", ""),
    ],
)
async def test_a_service_cannot_listen_to_others(nats_server: Bus, identity: str, subject: str, queue: str) -> None:
    await assert_refused_to_subscribe(nats_server, identity, subject, queue)


@pytest.mark.parametrize(
    "subject",
    [
        "kt.gw.v1.acme.gw2.t1.resolve",
        "kt.gw.v1.other.gw1.t1.resolve",
        "kt.gw.v1.acme.gw1.t2.resolve",
        "kt.gw.v1.acme.*.*.resolve",
        "kt.gw.v1.acme.gw1.resolve",
        "kt.keys.v1.open",
        "kt.resolver.v1.resolve",
        "kt.evt.v1.acme.config_variable.A",
        "kt.access.v1.acme.config_variable.A",
        "kt.feed.v1.acme.config_variable.A",
        "$JS.API.DIRECT.GET.KT_EVENTS",
        "$JS.API.CONSUMER.CREATE.KT_EVENTS",
        "$JS.API.STREAM.DELETE.KT_EVENTS",
    ],
)
async def test_a_gateway_is_refused_what_is_not_its_own(nats_server: Bus, subject: str) -> None:
    await assert_refused_to_publish(nats_server, nats_server.gateway("acme", "gw1"), subject)


@pytest.mark.parametrize(
    "subject",
    [
        "kt.feed.v1.other.>",
        "kt.feed.v1.*.config_variable.A",
        "kt.gw.v1.acme.gw1.t1.resolve",
        "_INBOX.gw.acme.gw2.>",
        "_INBOX.gw.acme.gw1.t2.>",
    ],
)
async def test_a_gateway_cannot_listen_to_others(nats_server: Bus, subject: str) -> None:
    await assert_refused_to_subscribe(nats_server, nats_server.gateway("acme", "gw1"), subject)


async def test_a_gateway_is_answered_under_its_own_name(nats_server: Bus) -> None:
    resolver = await nats_server.connect("resolver")

    async def answer(message: Msg) -> None:
        await message.respond(message.subject.encode())

    await resolver.subscribe("kt.gw.v1.*.*.*.resolve", queue="resolver", cb=answer)
    await resolver.flush()
    for token_id in ("t1", "Tok-A_1"):
        gateway = await nats_server.connect(nats_server.gateway("acme", "gw1", token_id))
        subject = f"kt.gw.v1.acme.gw1.{token_id}.resolve"
        assert (await gateway.request(subject, b"")).data.decode() == subject


async def test_a_gateway_hears_the_feed_of_its_own_org_and_sees_no_body(nats_server: Bus) -> None:
    heard: list[Msg] = []

    async def note(message: Msg) -> None:
        heard.append(message)

    gateway = await nats_server.connect(nats_server.gateway("acme", "gw1"))
    await gateway.subscribe("kt.feed.v1.acme.>", cb=note)
    await gateway.flush()
    command = (await nats_server.connect("command")).jetstream()
    for org in ("other", "acme"):
        await command.publish(f"kt.evt.v1.{org}.config_variable.A", b"{}", headers={"Kt-Type": "rotated"})
    await eventually(lambda: heard)
    assert [message.subject for message in heard] == ["kt.feed.v1.acme.config_variable.A"]
    assert heard[0].data == b""
    assert heard[0].headers is not None
    assert heard[0].headers["Kt-Type"] == "rotated"
    assert heard[0].headers["Nats-Sequence"] == "2"


async def test_a_service_answers_requests_and_nothing_else(nats_server: Bus) -> None:
    keys = await nats_server.connect("keys")

    async def answer(message: Msg) -> None:
        await message.respond(b"opened")

    await keys.subscribe("kt.keys.v1.open", queue="keys", cb=answer)
    await keys.flush()
    resolver = await nats_server.connect("resolver")
    assert (await resolver.request("kt.keys.v1.open", b"")).data == b"opened"
    await assert_refused_to_publish(nats_server, "keys", "_INBOX.svc.resolver.unasked")


async def test_the_api_asks_each_service_for_its_health(nats_server: Bus) -> None:
    async def answer(message: Msg) -> None:
        await message.respond(b"well")

    for service in ("command", "keys", "resolver", "audit"):
        client = await nats_server.connect(service)
        await client.subscribe(f"kt.health.v1.{service}", queue=service, cb=answer)
        await client.flush()
        api = await nats_server.connect("api")
        assert (await api.request(f"kt.health.v1.{service}", b"")).data == b"well"


async def test_the_command_service_appends_with_expectation_and_loads_by_direct_get(nats_server: Bus) -> None:
    client, refusals = await connected(nats_server, "command")
    expectation = {"Nats-Expected-Last-Subject-Sequence": "0"}
    subject = "kt.evt.v1.default.config_variable.A"
    acknowledged = await client.jetstream().publish(subject, b'{"n":1}', headers=expectation)
    assert acknowledged.seq == 1
    with pytest.raises(BadRequestError):
        await client.jetstream().publish(subject, b"{}", headers=expectation)
    found = await client.request("$JS.API.DIRECT.GET.KT_EVENTS", json.dumps({"last_by_subj": subject}).encode())
    assert found.data == b'{"n":1}'
    assert (await client.request(f"$JS.API.DIRECT.GET.KT_EVENTS.{subject}", b"")).data == b'{"n":1}'
    assert refusals.texts == []


@pytest.mark.parametrize("service", ["command", "keys", "resolver", "audit"])
async def test_a_projection_follows_the_events_with_an_ordered_consumer(nats_server: Bus, service: str) -> None:
    command = (await nats_server.connect("command")).jetstream()
    for n in range(300):
        await command.publish("kt.evt.v1.default.config_variable.A", b"x" * 8192, headers={"Kt-Type": str(n)})
    client, refusals = await connected(nats_server, service)
    seen: list[int] = []

    async def note(message: Msg) -> None:
        seen.append(message.metadata.sequence.stream)

    subscription = await client.jetstream().subscribe(
        "kt.evt.v1.>",
        stream="KT_EVENTS",
        ordered_consumer=True,
        config=ConsumerConfig(deliver_policy=DeliverPolicy.BY_START_SEQUENCE, opt_start_seq=2),
        cb=note,
    )
    await eventually(lambda: len(seen) == 299)
    assert seen == list(range(2, 301))
    await subscription.unsubscribe()
    assert refusals.texts == []


@pytest.mark.parametrize(
    ("service", "stream"), [("audit", "KT_ACCESS"), ("resolver", "KT_ACCESS"), ("keys", "KT_EVENTS")]
)
async def test_a_projection_reads_first_and_last_sequence(nats_server: Bus, service: str, stream: str) -> None:
    client = await nats_server.connect(service)
    info = await client.jetstream().stream_info(stream)
    assert (info.state.first_seq, info.state.last_seq) == (0, 0)


async def test_access_events_are_stored(nats_server: Bus) -> None:
    client = await nats_server.connect("resolver")
    acknowledged = await client.jetstream().publish("kt.access.v1.default.config_variable.A", b"{}")
    assert acknowledged.stream == "KT_ACCESS"


async def test_an_identity_of_another_installation_is_refused(
    nats_server: Bus, tmp_path_factory: pytest.TempPathFactory
) -> None:
    async with running_nats(tmp_path_factory.mktemp("other") / "bus") as other:
        stranger = other.gateway("acme", "gw1")
        with pytest.raises(NatsError):
            await nats_server.connect(stranger, allow_reconnect=False)

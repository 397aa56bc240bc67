"""Questions on the bus, served by FastStream and directly: the same answers, and always one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest

from libs.common.direct_get import DirectReader
from libs.common.errors import KtError
from libs.common.messaging.connection import REQUEST_TIMEOUT_S, ConnectionGuard
from libs.common.messaging.rpc import Declined, Endpoint, Message, RpcClient
from libs.common.messaging.server import RpcServer, broker_for, may_be_answered
from libs.common.subjects import EVENTS
from tests.engines import Bus, eventually

SECRET = "sk-proj-canarycanarycanary"


class Ask(Message):
    text: str


class Told(Message):
    text: str
    subject: str


HANDLED: list[str] = []
HELD: set[str] = set()
ECHO = Endpoint("kt.cmd.v1.config_variable", "command", Ask, Told, "Echo")


async def echo(subject: str, request: Ask) -> Told:
    HANDLED.append(request.text)
    if request.text == "refuse":
        raise KtError("conflict", "Refused.", "Try again.", extra={"n": 1})
    if request.text == "break":
        raise ZeroDivisionError(SECRET)
    if request.text == "much":
        return Told(text="x" * 5 * 1024 * 1024, subject=subject)
    if request.text == "misunderstand":
        return Told.model_validate({"what another service": "answered"})
    if request.text == "decline":
        raise Declined("unavailable", "Not I.", "Somebody else.", extra={"n": 1})
    if request.text == "slow":
        await eventually(lambda: not HELD)
    return Told(text=request.text, subject=subject)


@asynccontextmanager
async def served(nats_server: Bus, *, direct: bool) -> AsyncIterator[RpcClient]:
    HANDLED.clear()
    broker = broker_for("command", nats_server.url, nats_server.creds("command"), ConnectionGuard())
    server = RpcServer(broker)
    server.serve(ECHO, echo, direct=direct)
    await server.start(await broker.connect())
    try:
        yield RpcClient(await nats_server.connect("api"))
    finally:
        await broker.stop()


@asynccontextmanager
async def declining(nats_server: Bus, *, direct: bool) -> AsyncIterator[list[str]]:
    """A second instance, which leaves all work to the first."""
    handled: list[str] = []

    async def handle(subject: str, request: Ask) -> Told:
        handled.append(request.text)
        return Told(text="not from here", subject=subject)

    broker = broker_for("command", nats_server.url, nats_server.creds("command"), ConnectionGuard())
    server = RpcServer(broker)
    server.serve(ECHO, handle, direct=direct)
    server.decline(Declined("unavailable", "Not I."))
    await server.start(await broker.connect())
    try:
        yield handled
    finally:
        await broker.stop()


@pytest.fixture(params=[False, True], ids=["faststream", "direct"])
async def client(request: pytest.FixtureRequest, nats_server: Bus) -> AsyncIterator[RpcClient]:
    async with served(nats_server, direct=request.param) as ready:
        yield ready


async def test_an_answer_and_the_subject_it_was_asked_on(client: RpcClient) -> None:
    assert await client.call(ECHO, Ask(text="hello")) == Told(text="hello", subject=ECHO.subject)


async def test_a_refusal_arrives_whole(client: RpcClient) -> None:
    with pytest.raises(KtError) as caught:
        await client.call(ECHO, Ask(text="refuse"))
    assert (caught.value.code, caught.value.hint, caught.value.extra) == ("conflict", "Try again.", {"n": 1})


async def test_a_handler_that_breaks_answers_without_details(
    client: RpcClient, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(KtError) as caught:
        await client.call(ECHO, Ask(text="break"), timeout_s=2)
    assert caught.value.code == "internal"
    assert SECRET not in str(caught.value.as_wire())


@pytest.mark.parametrize("direct", [False, True], ids=["faststream", "direct"])
async def test_what_one_instance_declines_another_is_asked(nats_server: Bus, *, direct: bool) -> None:
    async with served(nats_server, direct=direct) as client, declining(nats_server, direct=direct) as declined:
        answers = [await client.call(ECHO, Ask(text="hello"), timeout_s=2) for _ in range(20)]
    assert {answer.text for answer in answers} == {"hello"}
    assert HANDLED == ["hello"] * 20
    assert declined == []


async def test_what_all_decline_is_told_when_the_time_is_up_and_not_as_declined(client: RpcClient) -> None:
    started = asyncio.get_running_loop().time()
    with pytest.raises(KtError) as caught:
        await client.call(ECHO, Ask(text="decline"), timeout_s=0.5)
    assert 0.3 < asyncio.get_running_loop().time() - started < 5
    assert type(caught.value) is KtError
    assert (caught.value.code, caught.value.detail, caught.value.extra) == ("unavailable", "Not I.", {"n": 1})
    assert 1 < len(HANDLED) < 20


@pytest.mark.parametrize(
    ("text", "detail"), [("much", "larger than the message bus carries"), ("misunderstand", "failed inside")]
)
async def test_what_goes_wrong_behind_the_question_is_not_blamed_on_it(
    client: RpcClient, text: str, detail: str
) -> None:
    with pytest.raises(KtError, match=detail) as caught:
        await client.call(ECHO, Ask(text=text), timeout_s=2)
    assert (caught.value.code, caught.value.fields) == ("internal", ())
    assert (await client.call(ECHO, Ask(text="hello"), timeout_s=2)).text == "hello"


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", orjson.dumps({"text": {"x": SECRET}}), orjson.dumps({SECRET: 1, "text": "a"})]
)
async def test_a_message_of_another_form_is_refused_without_repeating_it(client: RpcClient, body: bytes) -> None:
    reply = await client._nc.request(ECHO.subject, body, timeout=2)
    error: dict[str, Any] = orjson.loads(reply.data)["error"]
    assert error["code"] == "invalid_request"
    assert SECRET not in str(error)


@pytest.mark.parametrize("direct", [False, True], ids=["faststream", "direct"])
@pytest.mark.parametrize(
    "reply", ["kt.evt.v1.default.config_variable.A", "kt.keys.v1.seal", "_INBOX.gw.acme.gw1.x", ""]
)
async def test_an_answer_goes_to_an_inbox_and_nowhere_else(nats_server: Bus, reply: str, *, direct: bool) -> None:
    async with served(nats_server, direct=direct) as client:
        await client._nc.publish(ECHO.subject, b'{"text":"stray"}', reply=reply)
        await client.call(ECHO, Ask(text="honest"))
    assert HANDLED == ["honest"]
    assert await DirectReader(await nats_server.connect("command"), EVENTS).last(">") is None


@pytest.mark.parametrize(
    "reply", ["kt.evt.v1.acme.config_variable.A", "_INBOX.gw.acme.gw2.x", "_INBOX.gw.acme.gw11.x", "_INBOX.svc.api.x"]
)
def test_a_gateway_is_answered_in_its_own_inbox_only(reply: str) -> None:
    assert may_be_answered("kt.gw.v1.acme.gw1.t1.resolve", "_INBOX.gw.acme.gw1.t1.x.1")
    assert not may_be_answered("kt.gw.v1.acme.gw1.t1.resolve", reply)


async def test_slow_questions_do_not_hold_up_others(client: RpcClient) -> None:
    HELD.add("slow")
    slow = [asyncio.create_task(client.call(ECHO, Ask(text="slow"), timeout_s=30)) for _ in range(20)]
    try:
        await eventually(lambda: HANDLED.count("slow") == 20)
        await client.call(ECHO, Ask(text="quick"), timeout_s=30)
        assert not any(task.done() for task in slow)
    finally:
        HELD.clear()
    await asyncio.gather(*slow)


async def test_when_nobody_serves_it_says_so_at_once(nats_server: Bus) -> None:
    client = RpcClient(await nats_server.connect("api"))
    started = asyncio.get_running_loop().time()
    with pytest.raises(KtError) as caught:
        await client.call(ECHO, Ask(text="hello"))
    assert caught.value.code == "unavailable"
    assert "command service is not running" in caught.value.detail
    assert asyncio.get_running_loop().time() - started < REQUEST_TIMEOUT_S / 2

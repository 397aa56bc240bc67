"""Current state by read index: never older than the last acknowledged write, whatever is cached."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
from nats.aio.client import Client

from libs.common.clock import SystemClock, rfc3339
from libs.common.errors import KtError
from libs.common.event_store import EventStore
from libs.common.events import Actor, Metadata, Origin, Resource, encode
from libs.common.events.config_variable import ConfigVariableCreated, ConfigVariableDeleted, ConfigVariableRotated
from libs.common.events.gateway import GatewayEnrolled
from libs.common.events.secret import SealedRef
from libs.common.events.token import TokenRevoked
from libs.common.ids import Uuid7Factory
from libs.common.stream_reader import stream_range
from libs.common.subjects import GatewayIdentity, event_subject
from libs.common.tasks import ended
from services.resolver.adapters import current_state
from services.resolver.adapters.current_state import StreamState
from services.resolver.domain.secret import SecretState, Unreadable
from tests.engines import Bus, eventually


@dataclass
class Writer:
    """Appends as the command service does."""

    store: EventStore
    sequence: dict[str, int]

    async def append(self, event: object, name: str, kind: str = "config_variable", org: str = "acme") -> None:
        metadata = Metadata(
            Uuid7Factory().new(), rfc3339(SystemClock().now()), org, "test", Actor("admin", "a"), Origin("r")
        )
        subject = event_subject(org, kind, name)
        wire_name, body = encode(event, Resource(kind, name), metadata)
        self.sequence[subject] = await self.store.append(
            subject, wire_name, body, expected=self.sequence.get(subject, 0)
        )


@asynccontextmanager
async def running(nats_server: Bus) -> AsyncIterator[tuple[StreamState, Writer]]:
    state = StreamState(await nats_server.connect("resolver"))
    follower = asyncio.create_task(state.follow())
    try:
        yield state, Writer(EventStore(await nats_server.connect("command")), {})
    finally:
        assert await ended([follower], 10)


def created(mark: str) -> ConfigVariableCreated:
    return ConfigVariableCreated(1, "", sensitive=True, sealed=SealedRef(mark, mark))


async def version(state: StreamState, name: str) -> int | None:
    variable = (await state.secrets("acme", [name]))[name]
    assert not isinstance(variable, Unreadable)
    return variable.version if variable and variable.sealed else None


async def test_every_acknowledged_write_is_seen_by_the_next_read(nats_server: Bus) -> None:
    async with running(nats_server) as (state, writer):
        assert await version(state, "A") is None
        await writer.append(created("one"), "A")
        assert await version(state, "A") == 1
        for number in range(2, 40):
            await writer.append(ConfigVariableRotated(number, SealedRef(str(number), "d")), "A")
            assert await version(state, "A") == number
        await writer.append(ConfigVariableDeleted(39), "A")
        assert await version(state, "A") is None


async def test_readers_and_a_writer_at_once_never_see_an_older_version(nats_server: Bus) -> None:
    async with running(nats_server) as (state, writer):
        await writer.append(created("one"), "A")
        acknowledged = 1
        stale: list[tuple[int, int | None]] = []
        done = False

        async def read() -> None:
            while not done:
                known = acknowledged
                seen = await version(state, "A")
                if seen is None or seen < known:
                    stale.append((known, seen))

        readers = [asyncio.create_task(read()) for _ in range(8)]
        for number in range(2, 150):
            await writer.append(ConfigVariableRotated(number, SealedRef(str(number), "d")), "A")
            acknowledged = number
        done = True
        await asyncio.gather(*readers)
        assert stale == []


async def test_orgs_do_not_see_each_other(nats_server: Bus) -> None:
    async with running(nats_server) as (state, writer):
        await writer.append(created("theirs"), "A", org="other")
        assert await version(state, "A") is None


async def test_many_names_at_once_in_the_order_asked(nats_server: Bus) -> None:
    async with running(nats_server) as (state, writer):
        for number in range(30):
            await writer.append(created(str(number)), f"N.{number}")
        names = [f"N.{number}" for number in (7, 29, 3, 99)]
        found = await state.secrets("acme", names)
        assert list(found) == names
        assert [bool(v) for v in found.values()] == [True, True, True, False]


async def test_a_full_cache_forgets_and_stays_right(nats_server: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(current_state, "CAPACITY", 5)
    async with running(nats_server) as (state, writer):
        for number in range(20):
            await writer.append(created(str(number)), f"N{number}")
        found = await state.secrets("acme", [f"N{number}" for number in range(20)])
        assert [v.sealed.id for v in found.values() if isinstance(v, SecretState) and v.sealed] == [
            str(number) for number in range(20)
        ]


async def test_what_a_gateway_may_resolve_is_bound_to_its_token(nats_server: Bus) -> None:
    async with running(nats_server) as (state, writer):

        async def globs(token_id: str) -> tuple[str, ...] | None:
            return (await state.of_gateway(GatewayIdentity("acme", "gw", token_id), []))[0]

        assert await globs("t1") is None
        await writer.append(GatewayEnrolled("t1", ("A*",)), "gw", "gateway")
        assert (await globs("t1"), await globs("t2")) == (("A*",), None)
        await writer.append(GatewayEnrolled("t2", ("B*",)), "gw", "gateway")
        assert (await globs("t1"), await globs("t2")) == (("A*",), ("B*",))
        await writer.append(TokenRevoked("gateway", "gw", 0), "t1", "token")
        assert (await globs("t1"), await globs("t2")) == (None, ("B*",))
        await writer.append(GatewayEnrolled("t1", ("A*", "C")), "gw", "gateway")
        assert (await globs("t1"), await globs("t2")) == (None, ("B*",))


async def test_a_token_whose_events_can_not_be_read_entitles_to_nothing(nats_server: Bus) -> None:
    async with running(nats_server) as (state, writer):
        await writer.append(GatewayEnrolled("t1", ("A*",)), "gw", "gateway")
        command = await nats_server.connect("command")
        await command.request(event_subject("acme", "token", "t1"), b"{}", timeout=5)
        assert (await state.of_gateway(GatewayIdentity("acme", "gw", "t1"), []))[0] is None


async def test_an_event_that_can_not_be_read_spoils_its_own_variable_only(nats_server: Bus) -> None:
    async with running(nats_server) as (state, writer):
        await writer.append(created("one"), "GOOD")
        await writer.append(created("one"), "BAD")
        assert await version(state, "BAD") == 1
        await writer.store.append(event_subject("acme", "config_variable", "BAD"), "x", b"{}", expected=2)
        found = await state.secrets("acme", ["GOOD", "BAD"])
        assert isinstance(found["GOOD"], SecretState)
        assert isinstance(found["BAD"], Unreadable)


async def test_without_its_follower_it_refuses_instead_of_answering_from_memory(
    nats_server: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(current_state, "CATCH_UP_S", 0.2)
    async with running(nats_server) as (state, writer):
        await writer.append(created("one"), "A")
        assert await version(state, "A") == 1
    await writer.append(ConfigVariableRotated(2, SealedRef("2", "d")), "A")
    with pytest.raises(KtError) as caught:
        await version(state, "A")
    assert caught.value.code == "unavailable"


async def test_it_recovers_from_a_crash_of_the_server(nats_server: Bus) -> None:
    async with running(nats_server) as (state, writer):
        await writer.append(created("one"), "A")
        assert await version(state, "A") == 1
        await nats_server.kill()
        await nats_server.restart()

        async def written() -> bool:
            try:
                await writer.append(ConfigVariableRotated(2, SealedRef("2", "d")), "A")
            except KtError:
                return False
            return True

        async def seen() -> bool:
            try:
                return await version(state, "A") == 2
            except KtError:
                return False

        await eventually(written)
        await eventually(seen)


async def test_an_event_that_is_stored_while_the_end_is_looked_up_is_no_gap(
    nats_server: Bus, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(current_state, "IDLE_S", 0.05)
    async with running(nats_server) as (state, writer):
        await writer.append(created("one"), "A")
        assert await version(state, "A") == 1
        looked = 0

        async def stored_meanwhile(nc: Client, stream: str) -> tuple[int, int]:
            nonlocal looked
            looked += 1
            if looked <= 5:
                await writer.append(ConfigVariableRotated(looked + 1, SealedRef("2", "d")), "A")
            return await stream_range(nc, stream)

        monkeypatch.setattr(current_state, "stream_range", stored_meanwhile)
        await eventually(lambda: looked > 5)
        assert await version(state, "A") == 6
    assert "current_state.resync" not in [record.message for record in caplog.records]

"""Tokens in PostgreSQL: listed as they are, and every revocation told, whatever can't be read."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

from libs.common.event_store import EventStore
from libs.common.events import Actor, Metadata, Origin, Resource, encode
from libs.common.events.token import TokenIssued, TokenRevoked
from libs.common.ids import Uuid7Factory
from libs.common.postgres import open_pool
from libs.common.projection import ProjectionRunner
from libs.common.protocol.tokens import ListRevocations, ListTokens
from libs.common.subjects import event_subject
from libs.common.tasks import ended
from services.resolver.adapters import tokens_model
from services.resolver.adapters.tokens_model import TokenReads, TokensProjection
from services.resolver.application.tokens import Tokens
from tests.engines import Bus, Database

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
LATER, BEFORE = (int((NOW + timedelta(hours=h)).timestamp()) for h in (1, -1))


class At:
    moment = NOW

    def now(self) -> datetime:
        return self.moment


@dataclass
class World:
    tokens: Tokens
    store: EventStore
    runner: ProjectionRunner

    async def append(self, event: object, token_id: str, *, org: str = "acme", expected: int = 0) -> int:
        metadata = Metadata(
            Uuid7Factory().new(), "2026-11-23T00:00:00.000000Z", org, "t", Actor("admin", "bob"), Origin("r")
        )
        wire_name, body = encode(event, Resource("token", token_id), metadata)
        subject = event_subject(org, "token", token_id)
        return await self.store.append(subject, wire_name, body, expected=expected)

    async def issue(self, token_id: str, name: str = "ci", role: str = "machine", *, expires: int = LATER) -> int:
        return await self.append(TokenIssued(role, name, expires, "k1", ("A*",)), token_id)

    async def listed(self, **conditions: object) -> list[tuple[str, str]]:
        query = ListTokens.model_validate({"org": "acme", **conditions})
        return [(item.id, item.state) for item in (await self.tokens.list("", query)).items]

    async def revoked(self, after: int = 0) -> tuple[list[str], int, bool]:
        found = await self.tokens.revocations("", ListRevocations(after=after))
        return [f"{item.org}/{item.token_id}" for item in found.items], found.position, found.more


@asynccontextmanager
async def running(bus: Bus, postgres: Database) -> AsyncIterator[World]:
    nc = await bus.connect("resolver")
    async with open_pool(postgres.dsn("resolver"), "resolver") as pool:
        runner = ProjectionRunner(nc, pool, TokensProjection())
        store = EventStore(await bus.connect("command"))
        task = asyncio.create_task(runner.run())

        async def caught_up(timeout_s: float) -> bool:
            head = await store.reader.last(">")
            return head is None or await runner.wait_for(head.sequence, 30)

        try:
            yield World(Tokens(TokenReads(pool), caught_up, At()), store, runner)
        finally:
            assert await ended([task], 10)


async def test_a_token_is_listed_in_the_state_it_has_now(nats_server: Bus, postgres: Database) -> None:
    async with running(nats_server, postgres) as world:
        await world.issue("t1")
        await world.issue("t2", "alice", "operator", expires=BEFORE)
        sequence = await world.issue("t3")
        await world.append(TokenRevoked("machine", "ci", LATER), "t3", expected=sequence)
        await world.append(TokenRevoked("", "", 0), "elsewhere")
        await world.append(TokenIssued("admin", "eve", LATER, "k1", ()), "theirs", org="other")

        everything = [("elsewhere", "revoked"), ("t3", "revoked"), ("t2", "expired"), ("t1", "active")]
        assert await world.listed() == everything
        assert await world.listed(state="active") == everything[3:]
        assert await world.listed(state="expired") == everything[2:3]
        assert await world.listed(state="revoked") == everything[:2]
        assert await world.listed(name="ci") == [everything[1], everything[3]]
        assert await world.listed(role="operator") == [everything[2]]
        assert await world.listed(key_id="k1", state="active") == everything[3:]
        assert await world.listed(key_id="k2") == []
        page = await world.tokens.list("", ListTokens(org="acme", limit=2))
        assert page.more
        assert await world.listed(before=page.items[-1].sequence) == everything[2:]
        (token,) = (await world.tokens.list("", ListTokens(org="acme", name="ci", state="revoked"))).items
        assert (token.role, token.key_id, token.references, token.expires_at) == ("machine", "k1", ["A*"], LATER)
        assert (token.issued_by_type, token.issued_by_id, token.revoked_by_id) == ("admin", "bob", "bob")


async def test_revocations_are_told_once_and_those_of_expired_tokens_not_at_all(
    nats_server: Bus, postgres: Database
) -> None:
    async with running(nats_server, postgres) as world:
        assert await world.revoked() == ([], 0, False)
        first = await world.issue("t1")
        revoked_at = await world.append(TokenRevoked("machine", "ci", LATER), "t1", expected=first)
        assert await world.revoked() == (["acme/t1"], revoked_at, False)
        await world.issue("t2")
        assert await world.revoked(revoked_at) == ([], revoked_at, False)
        old = await world.issue("t3", expires=BEFORE)
        passed = await world.append(TokenRevoked("machine", "ci", BEFORE), "t3", expected=old)
        assert await world.revoked(revoked_at) == ([], passed, False)
        last = await world.append(TokenRevoked("", "", 0), "elsewhere", org="other")
        assert await world.revoked(passed) == (["other/elsewhere"], last, False)
        assert await world.revoked() == (["acme/t1", "other/elsewhere"], last, False)


async def test_gateways_are_told_the_revoked_client_tokens_of_their_org(nats_server: Bus, postgres: Database) -> None:
    now = int(NOW.timestamp())
    async with running(nats_server, postgres) as world:
        for token_id, role, expires in (
            ("of-a-machine", "machine", LATER),
            ("expired", "client", BEFORE),
            ("just-expired", "client", now - 20),
            ("lost", "client", LATER),
        ):
            issued = await world.issue(token_id, "app", role, expires=expires)
            await world.append(TokenRevoked(role, "app", expires), token_id, expected=issued)
        await world.issue("good", "app", "client")
        assert await world.tokens.revoked_clients("acme") == ["lost", "just-expired"]
        assert await world.tokens.revoked_clients("other") == []


async def test_many_revocations_come_in_parts(
    nats_server: Bus, postgres: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokens_model, "MAX_REVOCATIONS", 2)
    async with running(nats_server, postgres) as world:
        for number in range(5):
            await world.append(TokenRevoked("", "", 0), f"t{number}")
        seen, after, more = [], 0, True
        while more:
            part, after, more = await world.revoked(after)
            seen += part
        assert seen == [f"acme/t{number}" for number in range(5)]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"{}", ["acme/t1"]),
        (b'{"type":"kt.token.revoked.v9","data":{"detail":{},"request":{"id":"r"},"resource":{"type":"token","id":"t1"},"actor":{"type":"a","id":"b"}},"id":"1","time":"t","org":"acme","source":"s"}', ["acme/t1"]),
        (b'{"type":"kt.token.praised.v1","data":{"detail":{},"request":{"id":"r"},"resource":{"type":"token","id":"t1"},"actor":{"type":"a","id":"b"}},"id":"1","time":"t","org":"acme","source":"s"}', []),
    ],
    ids=["damaged", "a newer revocation", "something newer"],
)  # fmt: skip
async def test_what_can_not_be_read_and_may_be_a_revocation_counts_as_one(
    nats_server: Bus, postgres: Database, body: bytes, expected: list[str]
) -> None:
    async with running(nats_server, postgres) as world:
        sequence = await world.issue("t1")
        await world.store.append(event_subject("acme", "token", "t1"), "x", body, expected=sequence)
        assert (await world.revoked())[0] == expected

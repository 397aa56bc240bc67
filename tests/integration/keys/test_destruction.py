"""Destruction follows the stream: exactly what a deleted name referred to goes, whenever and however it is projected."""

from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from libs.common.direct_get import StoredMessage
from libs.common.event_store import EventStore
from libs.common.events import Actor, Metadata, Origin, Resource, encode
from libs.common.events.config_variable import (
    ConfigVariableCreated,
    ConfigVariableDeleted,
    ConfigVariableRolledBack,
    ConfigVariableRotated,
    ConfigVariableUpdated,
    ConfigVariableVersionDestroyed,
)
from libs.common.events.git_token import GitTokenCreated, GitTokenDeleted
from libs.common.events.secret import SealedRef, SecretEvent
from libs.common.events.webhook import (
    WebhookCreated,
    WebhookDeleted,
    WebhookEvent,
    WebhookSecretRetired,
    WebhookSecretRotated,
)
from libs.common.postgres import Pool
from libs.common.projection import ProjectionRunner
from libs.common.subjects import event_subject
from services.keys.adapters.projection import KeysProjection
from services.keys.application.sealing import Sealed
from tests.engines import Bus
from tests.unit.keys.support import KIND, Instance, Stores, master, start


def created(sealed: Sealed) -> ConfigVariableCreated:
    return ConfigVariableCreated(1, "", True, SealedRef(sealed.id, sealed.digest))


def rotated(sealed: Sealed, version: int = 2) -> ConfigVariableRotated:
    return ConfigVariableRotated(version, SealedRef(sealed.id, sealed.digest))


def destroyed(sealed: Sealed, version: int = 1) -> ConfigVariableVersionDestroyed:
    return ConfigVariableVersionDestroyed(version, SealedRef(sealed.id, sealed.digest))


DELETED = ConfigVariableDeleted(1)


def body_of(
    event: SecretEvent | WebhookEvent, name: str, org: str = "default", kind: str = KIND
) -> tuple[str, bytes]:
    metadata = Metadata(
        id=str(uuid.uuid4()),
        time="2026-11-23T08:00:00.000000Z",
        org=org,
        source="keeptrusts/command",
        actor=Actor("admin", "test"),
        origin=Origin("request"),
    )
    return encode(event, Resource(kind, name), metadata)


def stored(
    sequence: int, event: SecretEvent | WebhookEvent, name: str, org: str = "default", kind: str = KIND
) -> StoredMessage:
    return StoredMessage(event_subject(org, kind, name), sequence, body_of(event, name, org, kind)[1])


async def project(pool: Pool, messages: Sequence[StoredMessage]) -> None:
    async with pool.connection() as connection, connection.transaction():
        await KeysProjection().apply(connection, messages)


@pytest.fixture
async def instance(stores: Stores) -> Instance:
    return await start(stores, master(1))


async def left(stores: Stores, *sealed: Sealed) -> set[str]:
    return set(await stores.sealed.fetch([s.id for s in sealed]))


async def test_a_deletion_destroys_every_version_of_the_name_and_no_other(
    pool: Pool, stores: Stores, instance: Instance
) -> None:
    first, second, third, other, foreign = [
        await instance.seal(b"v", name=name, org=org)
        for name, org in [("A", "default")] * 3 + [("B", "default"), ("A", "acme")]
    ]
    rolled_back = ConfigVariableRolledBack(3, 1, SealedRef(third.id, third.digest))
    await project(
        pool,
        [
            stored(1, created(first), "A"),
            stored(2, created(other), "B"),
            stored(3, created(foreign), "A", "acme"),
            stored(4, rotated(second), "A"),
            stored(5, ConfigVariableUpdated("text", True), "A"),
            stored(6, rolled_back, "A"),
            stored(7, DELETED, "A"),
        ],
    )
    assert await left(stores, first, second, third, other, foreign) == {other.id, foreign.id}


async def test_destroying_a_version_destroys_its_value_and_no_other(
    pool: Pool, stores: Stores, instance: Instance
) -> None:
    first, second, other, foreign = [
        await instance.seal(b"v", name=name, org=org)
        for name, org in [("A", "default")] * 2 + [("B", "default"), ("A", "acme")]
    ]
    await project(
        pool,
        [
            stored(1, created(first), "A"),
            stored(2, created(other), "B"),
            stored(3, created(foreign), "A", "acme"),
            stored(4, rotated(second), "A"),
            stored(5, destroyed(first), "A"),
            stored(6, destroyed(other), "A"),
            stored(7, destroyed(foreign), "A"),
        ],
    )
    assert await left(stores, first, second, other, foreign) == {second.id, other.id, foreign.id}


async def test_a_deletion_reaches_no_secret_of_another_kind(pool: Pool, stores: Stores, instance: Instance) -> None:
    variable, token = await instance.seal(b"v", name="A"), await instance.seal(b"t", name="A", kind="git_token")
    created_token = GitTokenCreated(1, "", True, SealedRef(token.id, token.digest))
    await project(
        pool,
        [
            stored(1, created(variable), "A"),
            stored(2, created_token, "A", kind="git_token"),
            stored(3, DELETED, "A"),
        ],
    )
    assert await left(stores, variable, token) == {token.id}
    await project(pool, [stored(4, GitTokenDeleted(1), "A", kind="git_token")])
    assert await left(stores, token) == set()


async def test_webhook_secrets_go_when_their_overlap_is_over_and_with_their_webhook(
    pool: Pool, stores: Stores, instance: Instance
) -> None:
    first, second, other = [
        await instance.seal(b"s", name=name, kind="webhook_secret") for name in ("hook", "hook", "other")
    ]
    variable = await instance.seal(b"v", name="hook")
    one, two, three = (SealedRef(s.id, s.digest) for s in (first, second, other))
    await project(
        pool,
        [
            stored(1, WebhookCreated("https://a.example/", ("*",), "", one), "hook", kind="webhook"),
            stored(2, WebhookCreated("https://a.example/", ("*",), "", three), "other", kind="webhook"),
            stored(3, created(variable), "hook"),
            stored(4, WebhookSecretRotated(two, "2026-11-24T08:00:00.000000Z"), "hook", kind="webhook"),
        ],
    )
    assert await left(stores, first, second, other, variable) == {first.id, second.id, other.id, variable.id}
    await project(pool, [stored(5, WebhookSecretRetired((one, three)), "hook", kind="webhook")])
    assert await left(stores, first, second, other, variable) == {second.id, other.id, variable.id}
    await project(pool, [stored(6, WebhookDeleted(), "hook", kind="webhook")])
    assert await left(stores, second, other, variable) == {other.id, variable.id}


async def test_a_name_created_again_keeps_its_new_value_when_the_deletion_is_projected_late(
    pool: Pool, stores: Stores, instance: Instance
) -> None:
    old, new = await instance.seal(b"old"), await instance.seal(b"new")
    name = "OPENAI_API_KEY"
    await project(pool, [stored(1, created(old), name), stored(2, DELETED, name), stored(3, created(new), name)])
    assert await left(stores, old, new) == {new.id}


async def test_a_value_whose_event_is_still_to_come_survives_the_deletion(
    pool: Pool, stores: Stores, instance: Instance
) -> None:
    old, new = await instance.seal(b"old"), await instance.seal(b"new")
    name = "OPENAI_API_KEY"
    await project(pool, [stored(1, created(old), name)])
    await project(pool, [stored(2, DELETED, name)])
    assert await left(stores, old, new) == {new.id}
    await project(pool, [stored(3, created(new), name)])
    assert await left(stores, new) == {new.id}


async def test_an_event_can_not_destroy_the_value_of_another_name(
    pool: Pool, stores: Stores, instance: Instance
) -> None:
    sealed = await instance.seal(b"value", name="A")
    await project(pool, [stored(1, created(sealed), "B"), stored(2, created(sealed), "A"), stored(3, DELETED, "B")])
    assert await left(stores, sealed) == {sealed.id}
    await project(pool, [stored(4, DELETED, "A")])
    assert await left(stores, sealed) == set()


async def test_an_event_under_the_subject_of_another_name_destroys_nothing_and_holds_nothing_up(
    pool: Pool, stores: Stores, instance: Instance
) -> None:
    kept, gone = await instance.seal(b"value", name="A"), await instance.seal(b"value", name="B")
    planted = StoredMessage(event_subject("default", KIND, "B"), 3, body_of(DELETED, "A")[1])
    await project(
        pool, [stored(1, created(kept), "A"), stored(2, created(gone), "B"), planted, stored(4, DELETED, "B")]
    )
    assert await left(stores, kept, gone) == {kept.id}


async def test_events_with_a_malformed_sealed_id_and_other_aggregates_are_passed_over(pool: Pool) -> None:
    broken = ConfigVariableCreated(1, "", True, SealedRef("nonsense", "0" * 64))
    await project(
        pool,
        [
            stored(1, broken, "A"),
            StoredMessage("kt.evt.v1.default.token.t1", 2, b"not read"),
            StoredMessage("kt.evt.v1.too.short", 3, b"not read"),
        ],
    )
    async with pool.connection() as connection:
        assert await (await connection.execute("SELECT * FROM sealed_references")).fetchall() == []


@pytest.mark.parametrize("seed", range(8))
async def test_the_same_rows_survive_however_the_stream_is_cut_and_when_it_is_replayed(
    pool: Pool, stores: Stores, instance: Instance, seed: int
) -> None:
    choice = random.Random(seed)
    live: dict[str, list[Sealed]] = {}
    every: list[Sealed] = []
    script: list[StoredMessage] = []
    for sequence in range(1, 31):
        name = choice.choice("AB")
        if name in live and choice.random() < 0.3:
            script.append(stored(sequence, DELETED, name))
            del live[name]
        elif len(live.get(name, ())) > 1 and choice.random() < 0.5:
            victim = live[name].pop(choice.randrange(len(live[name]) - 1))
            script.append(stored(sequence, destroyed(victim), name))
        else:
            sealed = await instance.seal(b"value", name=name)
            script.append(stored(sequence, rotated(sealed) if name in live else created(sealed), name))
            live.setdefault(name, []).append(sealed)
            every.append(sealed)
    expected = {sealed.id for values in live.values() for sealed in values}
    for _ in range(2):
        rest = script
        while rest:
            size = choice.randint(1, 12)
            await project(pool, rest[:size])
            rest = rest[size:]
        assert await left(stores, *every) == expected
        async with pool.connection() as connection:
            references = await (await connection.execute("SELECT sealed_id::text FROM sealed_references")).fetchall()
            await connection.execute("DELETE FROM sealed_references")
        assert {row[0] for row in references} == expected


@asynccontextmanager
async def running(runner: ProjectionRunner) -> AsyncIterator[None]:
    task = asyncio.create_task(runner.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task], timeout=5)


async def test_deleting_on_the_real_stream_removes_ciphertext_and_data_key(
    nats_server: Bus, pool: Pool, stores: Stores, instance: Instance
) -> None:
    events = EventStore(await nats_server.connect("command"))
    subject = event_subject("default", KIND, "OPENAI_API_KEY")
    gone, kept = await instance.seal(b"gone"), await instance.seal(b"kept", name="OTHER")
    last = await events.append(subject, *body_of(created(gone), "OPENAI_API_KEY"), expected=0)
    await events.append(event_subject("default", KIND, "OTHER"), *body_of(created(kept), "OTHER"), expected=0)
    last = await events.append(subject, *body_of(DELETED, "OPENAI_API_KEY"), expected=last)
    runner = ProjectionRunner(await nats_server.connect("keys"), pool, KeysProjection())
    async with running(runner):
        assert await runner.wait_for(last, timeout_s=30)
    assert runner.position >= last
    assert await left(stores, gone, kept) == {kept.id}
    assert await instance.open(gone, kept) == ({kept.id: b"kept"}, {gone.id: "undecryptable"})

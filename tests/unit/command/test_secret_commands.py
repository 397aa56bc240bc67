"""Commands on config variables: sealed first, appended once, repeated without harm."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest

from libs.common.errors import KtError
from libs.common.events import decode
from libs.common.events.secret import SealedRef
from libs.common.ids import Uuid7Factory
from libs.common.protocol.command import BoxedValue, SecretCommand, SecretOutcome
from libs.common.protocol.parties import Caller
from libs.common.secret_kinds import CONFIG_VARIABLE, KINDS, SecretKind
from services.command.application.aggregates import MAX_ATTEMPTS, Aggregates
from services.command.application.ports import SealedRow
from services.command.application.secrets import Secrets
from tests.unit.common.stores import MemoryStore

CALLER = Caller(org="acme", actor_type="operator", actor_id="alice", request_id="r1")


@dataclass
class Sealer:
    """A stand-in for the key service: idempotent in the sealed id, as the real one is."""

    values: dict[str, bytes] = field(default_factory=dict)
    fail: bool = False
    rows: dict[str, tuple[str, bool]] = field(default_factory=dict)
    """Older plaintext rows: description and sensitivity by name. They stay: deleting them is the key service's."""

    async def take_over(self, sealed_id: str, org: str, name: str) -> SealedRow | None:
        if name not in self.rows:
            return None
        self.values[sealed_id] = f"older value of {name}".encode()
        return SealedRow(*self.rows[name], SealedRef(sealed_id, f"digest of {sealed_id}"))

    async def seal(self, sealed_id: str, org: str, name: str, value: BoxedValue, *, first: bool = False) -> SealedRef:
        if self.fail:
            raise KtError("unavailable", "The keys service is not running.")
        if first and name in self.rows:
            raise KtError("already_exists", "An older plaintext row has this name.")
        if self.values.setdefault(sealed_id, value.box) != value.box:
            raise KtError("idempotency_mismatch", "The sealed id is taken by another value.")
        return SealedRef(sealed_id, f"digest of {sealed_id}")

    async def reseal(self, sealed_id: str, org: str, name: str, source: SealedRef) -> SealedRef:
        self.values[sealed_id] = self.values[source.id]
        return SealedRef(sealed_id, f"digest of {sealed_id}")


class At:
    def now(self) -> datetime:
        return datetime(2026, 11, 23, tzinfo=UTC)


class World:
    def __init__(self, kind: SecretKind = CONFIG_VARIABLE) -> None:
        self.store, self.sealer = MemoryStore(), Sealer()
        self.handler = Secrets(kind, Aggregates(self.store, At(), Uuid7Factory(At())), self.sealer)
        self._commands = 0

    async def do(self, command: str, name: str = "A", key: str = "", **fields: Any) -> SecretOutcome:
        self._commands += 1
        if "value" in fields:
            fields["value"] = BoxedValue(key_id="t1", box=fields["value"].encode())
        request = SecretCommand(
            command=command,
            command_id=key or f"command-{self._commands}",
            caller=CALLER,
            name=name,
            **fields,
        )
        return await self.handler.handle("", request)

    async def refused(self, command: str, **fields: Any) -> str:
        before = len(self.store.messages)
        with pytest.raises(KtError) as caught:
            await self.do(command, **fields)
        assert len(self.store.messages) == before
        return caught.value.code


@pytest.fixture(params=list(KINDS.values()), ids=list(KINDS))
def world(request: pytest.FixtureRequest) -> World:
    return World(request.param)


async def test_a_life(world: World) -> None:
    created = await world.do("create", value="one", description="d")
    assert (created.version, created.sensitive, created.description, created.deleted) == (1, True, "d", False)
    rotated = await world.do("rotate", value="two")
    assert (rotated.version, rotated.sequence) == (2, 2)
    back = await world.do("roll_back", to_version=1)
    assert back.version == 3
    assert sorted(world.sealer.values.values()) == [b"one", b"one", b"two"]
    gone = await world.do("delete")
    assert (gone.deleted, gone.version) == (True, 3)
    again = await world.do("create", value="three")
    assert (again.version, again.deleted) == (4, False)


async def test_a_command_that_is_not_allowed_seals_nothing(world: World) -> None:
    await world.do("create", value="one")
    assert await world.refused("create", value="two") == "already_exists"
    assert await world.refused("rotate", name="B", value="two") == "not_found"
    assert await world.refused("roll_back", to_version=7) == "not_found"
    assert list(world.sealer.values.values()) == [b"one"]


async def test_without_the_key_service_nothing_is_appended(world: World) -> None:
    world.sealer.fail = True
    assert await world.refused("create", value="one") == "unavailable"


@pytest.mark.parametrize(
    ("command", "fields"),
    [
        ("create", {"value": "one"}),
        ("rotate", {"value": "two"}),
        ("update", {"description": "new"}),
        ("roll_back", {"to_version": 1}),
        ("destroy_version", {"version": 1}),
        ("delete", {}),
    ],
)
async def test_the_same_command_again_answers_the_same_and_changes_nothing(
    world: World, command: str, fields: dict[str, Any]
) -> None:
    if command != "create":
        await world.do("create", value="one")
        await world.do("rotate", value="other")
    first = await world.do(command, key="k", **fields)
    after = len(world.store.messages)
    if command not in ("delete", "create"):
        await world.do("rotate", value="later")
        after += 1
    again = await world.do(command, key="k", **fields)
    assert again.replayed
    assert (again.version, again.sequence, again.event_id) == (first.version, first.sequence, first.event_id)
    assert len(world.store.messages) == after


@pytest.mark.parametrize(
    ("command", "fields"),
    [
        ("create", {"value": "another"}),
        ("create", {"value": "one", "description": "another"}),
        ("create", {"value": "one", "sensitive": False}),
        ("rotate", {"value": "one"}),
        ("delete", {}),
    ],
)
async def test_another_command_under_the_same_key_is_refused(
    world: World, command: str, fields: dict[str, Any]
) -> None:
    await world.do("create", key="k", value="one", description="d")
    assert await world.refused(command, key="k", **fields) == "idempotency_mismatch"


@pytest.mark.parametrize("value", ["one", "another"])
async def test_a_value_that_was_destroyed_is_not_stored_again_by_a_late_repeat(world: World, value: str) -> None:
    created = await world.do("create", key="k", value="one")
    await world.do("delete")
    world.sealer.values.clear()
    again = await world.do("create", key="k", value=value)
    assert (again.replayed, again.event_id) == (True, created.event_id)
    assert world.sealer.values == {}


@pytest.mark.parametrize("value", ["one", "another"])
async def test_a_version_that_was_destroyed_is_not_stored_again_by_a_late_repeat(world: World, value: str) -> None:
    await world.do("create", key="k", value="one")
    await world.do("rotate", value="two")
    destroyed = await world.do("destroy_version", version=1)
    assert (destroyed.version, destroyed.sequence) == (2, 3)
    world.sealer.values.clear()
    assert (await world.do("create", key="k", value=value)).replayed
    assert world.sealer.values == {}


async def test_the_event_of_a_destroyed_version_is_about_that_version(world: World) -> None:
    await world.do("create", value="one")
    await world.do("rotate", value="two")
    await world.do("destroy_version", version=1)
    created, _, destroyed = [decode(body, number) for number, (_, body) in enumerate(world.store.messages, 1)]
    assert (destroyed.event.version, destroyed.resource.version) == (1, 1)
    assert destroyed.event.sealed == created.event.sealed


async def test_a_version_is_destroyed_once_and_under_its_own_key(world: World) -> None:
    await world.do("create", value="one")
    await world.do("rotate", value="two")
    await world.do("rotate", value="three")
    first = await world.do("destroy_version", key="k", version=1)
    assert (await world.do("destroy_version", version=1)).sequence == first.sequence
    assert await world.refused("destroy_version", key="k", version=2) == "idempotency_mismatch"
    assert await world.refused("destroy_version") == "invalid_request"


async def test_an_expected_version_that_is_not_there_any_more_is_refused(world: World) -> None:
    created = await world.do("create", value="one")
    await world.do("rotate", value="two", expected_sequence=created.sequence)
    assert await world.refused("rotate", value="three", expected_sequence=created.sequence) == "precondition_failed"
    assert await world.refused("delete", expected_sequence=created.sequence) == "precondition_failed"


async def test_who_loses_a_race_decides_anew(world: World) -> None:
    await world.do("create", value="one")
    world.store.conflicts = MAX_ATTEMPTS - 1
    assert (await world.do("rotate", value="two")).version == 2


async def test_who_loses_every_race_is_told(world: World) -> None:
    await world.do("create", value="one")
    world.store.conflicts = MAX_ATTEMPTS
    assert await world.refused("rotate", value="two") == "conflict"


async def test_of_many_who_create_at_once_one_succeeds(world: World) -> None:
    attempts = (world.do("create", value=f"v{number}") for number in range(10))
    results = await asyncio.gather(*attempts, return_exceptions=True)
    assert sum(isinstance(r, SecretOutcome) for r in results) == 1
    assert {r.code for r in results if isinstance(r, KtError)} == {"already_exists"}


async def test_many_who_rotate_at_once_each_get_a_version_of_their_own(world: World) -> None:
    await world.do("create", value="one")
    results = await asyncio.gather(*(world.do("rotate", value=f"v{number}") for number in range(5)))
    assert sorted(r.version for r in results) == [2, 3, 4, 5, 6]


async def test_an_update_that_changes_nothing_answers_with_what_is_there(world: World) -> None:
    created = await world.do("create", value="one", description="d")
    unchanged = await world.do("update", description="d")
    assert (unchanged.sequence, unchanged.event_id) == (created.sequence, created.event_id)


@pytest.mark.parametrize("name", ["a/b", "", "x" * 129, "sk-proj-abcdefghijklmnop1234"])
async def test_names_are_checked_here_too(world: World, name: str) -> None:
    assert await world.refused("create", name=name, value="one") in ("invalid_name", "name_looks_like_secret")

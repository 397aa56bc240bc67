"""Commands on webhooks: the secret is sealed first, the event appended once, a repetition shows no secret again."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from libs.common.clock import rfc3339
from libs.common.errors import KtError
from libs.common.ids import Uuid7Factory
from libs.common.protocol.command import BoxedValue, WebhookCommand, WebhookOutcome, WebhookUpkeep
from services.command.application.aggregates import Aggregates
from services.command.application.webhooks import Webhooks
from tests.unit.command.test_secret_commands import CALLER, Sealer
from tests.unit.common.stores import MemoryStore

START = datetime(2026, 11, 23, tzinfo=UTC)
URL = "https://receiver.example.com/kt"
NEW: dict[str, Any] = {"url": URL, "event_types": ("*",)}


class Clock:
    moment = START

    def now(self) -> datetime:
        return self.moment


class World:
    def __init__(self) -> None:
        self.store, self.sealer, self.clock = MemoryStore(), Sealer(), Clock()
        aggregates = Aggregates(self.store, self.clock, Uuid7Factory(self.clock))
        self.webhooks = Webhooks(aggregates, self.sealer, self.clock)
        self._commands = 0

    async def do(self, command: str, key: str = "", secret: str = "", **fields: Any) -> WebhookOutcome:
        self._commands += 1
        if secret:
            fields["secret"] = BoxedValue(key_id="t1", box=secret.encode())
        request = WebhookCommand.model_validate(
            {
                "command": command,
                "command_id": key or f"command-{self._commands}",
                "caller": CALLER,
                "webhook": "hook",
                **fields,
            }
        )
        return await self.webhooks.handle("", request)

    async def refused(self, command: str, **fields: Any) -> str:
        before = len(self.store.messages), dict(self.sealer.values)
        with pytest.raises(KtError) as caught:
            await self.do(command, **fields)
        assert (len(self.store.messages), self.sealer.values) == before
        return caught.value.code

    async def keep_up(self, command: str, reason: str = "") -> None:
        request = {"command": command, "command_id": f"{command}-1", "webhook": "hook", "reason": reason}
        await self.webhooks.keep_up("", WebhookUpkeep.model_validate({**request, "caller": CALLER}))

    def types(self) -> list[str]:
        return [str(json.loads(body)["type"]) for _, body in self.store.messages]


@pytest.fixture
def world() -> World:
    return World()


async def test_a_life(world: World) -> None:
    created = await world.do("create", secret="one", **NEW)
    assert (created.url, created.event_types, created.enabled, created.overlap_until) == (URL, ("*",), True, "")
    rotated = await world.do("rotate_secret", secret="two", overlap_s=60)
    assert rotated.overlap_until == rfc3339(START + timedelta(seconds=60))
    disabled = await world.do("update", enabled=False)
    assert (disabled.enabled, disabled.disabled_reason) == (False, "")
    await world.do("delete")
    assert await world.refused("update", enabled=True) == "not_found"
    assert sorted(world.sealer.values.values()) == [b"one", b"two"]
    assert [name.split(".")[2] for name in world.types()] == ["created", "secret_rotated", "updated", "deleted"]


async def test_the_overlap_is_a_day_unless_said_otherwise(world: World) -> None:
    await world.do("create", secret="one", **NEW)
    rotated = await world.do("rotate_secret", secret="two")
    assert rotated.overlap_until == rfc3339(START + timedelta(days=1))


async def test_old_secrets_are_retired_when_their_overlap_is_over_and_once(world: World) -> None:
    await world.do("create", secret="one", **NEW)
    await world.do("rotate_secret", secret="two", overlap_s=60)
    await world.keep_up("retire_secrets")
    assert len(world.types()) == 2, "not before"
    world.clock.moment = START + timedelta(seconds=60)
    for _ in range(2):
        await world.keep_up("retire_secrets")
    assert world.types()[2:] == ["kt.webhook.secret_retired.v1"]
    assert (await world.do("update", description="d")).overlap_until == ""


async def test_a_given_secret_repeated_with_its_key_is_the_same_request(world: World) -> None:
    first = await world.do("create", key="k", secret="one", **NEW)
    again = await world.do("create", key="k", secret="one", **NEW)
    assert (again.replayed, again.sequence) == (True, first.sequence)
    assert await world.refused("create", key="k", secret="another", **NEW) == "idempotency_mismatch"
    assert await world.refused("create", key="k", secret="one", url=URL + "/other", event_types=("*",)) == (
        "idempotency_mismatch"
    )
    assert await world.refused("rotate_secret", key="k", secret="one") == "idempotency_mismatch"
    assert len(world.types()) == 1


async def test_of_a_made_secret_only_the_request_that_stored_it_may_show_it(world: World) -> None:
    first = await world.do("create", key="k", secret="made first", made=True, **NEW)
    lost_answer = await world.do("create", key="k", secret="made first", made=True, **NEW)
    again = await world.do("create", key="k", secret="made again", made=True, **NEW)
    assert (first.replayed, lost_answer.replayed, again.replayed) == (False, False, True)
    assert list(world.sealer.values.values()) == [b"made first"]
    assert len(world.types()) == 1


async def test_a_destroyed_secret_is_not_stored_again_by_a_repetition(world: World) -> None:
    await world.do("create", key="k", secret="one", **NEW)
    await world.do("delete")
    world.sealer.values.clear()
    assert (await world.do("create", key="k", secret="one", **NEW)).replayed
    assert world.sealer.values == {}


async def test_what_is_not_allowed_seals_nothing(world: World) -> None:
    assert await world.refused("rotate_secret", secret="one") == "not_found"
    assert await world.refused("create", secret="one", url=URL, event_types=("kt.nothing.*",)) == "invalid_request"
    assert await world.refused("create", **NEW) == "invalid_request"
    created = await world.do("create", secret="one", **NEW)
    assert await world.refused("create", secret="two", **NEW) == "already_exists"
    assert await world.refused("rotate_secret", secret="two", overlap_s=8 * 86_400) == "invalid_request"
    stale = {"expected_sequence": created.sequence + 1}
    assert await world.refused("rotate_secret", secret="two", **stale) == "precondition_failed"


async def test_when_sealing_fails_nothing_is_appended(world: World) -> None:
    world.sealer.fail = True
    assert await world.refused("create", secret="one", **NEW) == "unavailable"


async def test_the_system_disables_an_address_that_is_gone_once(world: World) -> None:
    await world.do("create", secret="one", **NEW)
    for _ in range(2):
        await world.keep_up("disable", "gone")
    assert world.types()[1:] == ["kt.webhook.disabled.v1"]
    enabled = await world.do("update", enabled=True)
    assert (enabled.enabled, enabled.disabled_reason) == (True, "")


async def test_a_change_that_changes_nothing_is_no_event(world: World) -> None:
    await world.do("create", secret="one", **NEW)
    assert (await world.do("update", url=URL, enabled=True)).enabled
    assert len(world.types()) == 1

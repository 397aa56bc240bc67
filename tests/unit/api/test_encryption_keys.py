"""/v1/encryption-keys: the status, and deep rotation."""

from __future__ import annotations

import pytest

from libs.common.auth.scopes import KEYS_ROTATE, ROLES
from libs.common.errors import KtError
from libs.common.protocol import keys
from tests.unit.api.system import System, token_for

ROTATIONS = "/v1/encryption-keys/deep-rotations"
VIEW = keys.DeepRotationView(
    id="r-1",
    state="running",
    started_at="2026-11-23T07:39:03.192164Z",
    started_by="admin/admin-1",
    data_keys=12,
    rewrapped=0,
    damaged=0,
    old_keys=["key-1"],
    new_key="key-2",
    transport_key="key-3",
    destroyed_keys=[],
)


async def test_keys_are_shown_by_fingerprint(system: System) -> None:
    system.bus.on(keys.STATUS, lambda _: keys.KeysStatusReply(master_fingerprint="ab12", entries=[], summary=["ok"]))

    shown = (await system.ask("GET", "/v1/encryption-keys", token=token_for("auditor"))).json()

    assert (shown["master_fingerprint"], shown["summary"]) == ("ab12", ["ok"])


async def test_a_deep_rotation_is_started_in_the_caller_s_name_and_answered_with_its_place(system: System) -> None:
    system.bus.on(keys.DEEP_ROTATE, lambda _: VIEW)

    answer = await system.ask("POST", ROTATIONS)

    (asked,) = system.bus.requests(keys.DEEP_ROTATE)
    assert (answer.status, answer.headers["location"]) == (202, f"{ROTATIONS}/r-1")
    assert (asked.caller.org, asked.caller.actor_type, asked.caller.actor_id) == ("default", "admin", "admin-1")


async def test_a_repeated_request_is_the_same_command(system: System) -> None:
    system.bus.on(keys.DEEP_ROTATE, lambda _: VIEW)

    for key in ("k1", "k1", "k2"):
        await system.ask("POST", ROTATIONS, headers={"Idempotency-Key": key})

    first, again, other = (request.command_id for request in system.bus.requests(keys.DEEP_ROTATE))
    assert first == again != other


@pytest.mark.parametrize("role", sorted(ROLES.keys() - {"admin"}))
async def test_only_an_admin_may_start_one(system: System, role: str) -> None:
    answer = await system.ask("POST", ROTATIONS, token=token_for(role))

    assert (answer.status, answer.code) == (403, "forbidden")
    assert answer.json()["scope"] == KEYS_ROTATE
    assert not system.bus.asked


async def test_its_progress_can_be_read(system: System) -> None:
    system.bus.on(keys.DEEP_ROTATION, lambda r: VIEW.model_copy(update={"id": r.id, "rewrapped": 7}))

    answer = await system.ask("GET", f"{ROTATIONS}/r-9", token=token_for("operator"))

    assert (answer.json()["id"], answer.json()["rewrapped"]) == ("r-9", 7)
    assert answer.headers["cache-control"] == "no-store"
    assert system.bus.requests(keys.DEEP_ROTATION)[0].org == "default"


async def test_one_that_does_not_exist_is_not_found(system: System) -> None:
    system.bus.fails(keys.DEEP_ROTATION, KtError("not_found", "There is no such deep rotation."))

    assert (await system.ask("GET", f"{ROTATIONS}/r-9")).status == 404

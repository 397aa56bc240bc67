"""The key service's transport key: asked for once in a while, and anew when it has changed."""

from __future__ import annotations

import asyncio

import pytest

from libs.common.errors import KtError
from libs.common.hpke import BoxPrivateKey
from libs.common.protocol import command, keys
from libs.common.secret import Secret
from services.api.application.boxing import MAX_AGE_S, Boxes
from tests.unit.api.system import System

CREATE = {"name": "A", "value": "v"}
UNDECRYPTABLE = KtError("undecryptable", "The sealed message can't be opened.")


async def test_the_transport_key_is_asked_for_once(system: System) -> None:
    for _ in range(3):
        await system.ask("POST", "/v1/config-variables", CREATE)

    assert len(system.bus.requests(keys.TRANSPORT_KEY)) == 1


async def test_callers_at_the_same_time_share_one_question(system: System) -> None:
    boxes = Boxes(system.bus, lambda: 0.0)

    await asyncio.gather(*(boxes.seal("default", "config_variable", "A", Secret(b"v")) for _ in range(8)))

    assert len(system.bus.requests(keys.TRANSPORT_KEY)) == 1


async def test_the_transport_key_is_asked_for_anew_after_a_while(system: System) -> None:
    await system.ask("POST", "/v1/config-variables", CREATE)
    system.elapsed += MAX_AGE_S
    await system.ask("POST", "/v1/config-variables", CREATE)

    assert len(system.bus.requests(keys.TRANSPORT_KEY)) == 2


async def test_a_new_transport_key_costs_one_attempt_with_the_same_command_id(system: System) -> None:
    await system.ask("POST", "/v1/config-variables", CREATE)
    fresh = BoxPrivateKey.generate()
    system.bus.on(keys.TRANSPORT_KEY, lambda _: keys.TransportKeyReply(key_id="t2", public_key=fresh.public.encoded))
    system.bus.fails(command.CONFIG_VARIABLE, UNDECRYPTABLE)

    answer = await system.ask("POST", "/v1/config-variables", CREATE)

    _, refused, accepted = system.bus.requests(command.CONFIG_VARIABLE)
    assert answer.status == 201
    assert refused.command_id == accepted.command_id
    assert refused.value
    assert accepted.value
    assert (refused.value.key_id, accepted.value.key_id) == ("t1", "t2")
    assert fresh.open(accepted.value.box, keys.seal_context("default", "config_variable", "A")) == Secret(b"v")


async def test_a_value_that_stays_undecryptable_is_not_tried_for_ever(system: System) -> None:
    system.bus.fails(command.CONFIG_VARIABLE, UNDECRYPTABLE, UNDECRYPTABLE)

    answer = await system.ask("POST", "/v1/config-variables", CREATE)

    assert (answer.status, answer.code) == (500, "undecryptable")


@pytest.mark.parametrize("times", [1, 2])
async def test_without_the_key_service_nothing_is_sent(system: System, times: int) -> None:
    del system.bus.answers[keys.TRANSPORT_KEY.subject]

    for _ in range(times):
        answer = await system.ask("POST", "/v1/config-variables", CREATE)
        assert (answer.status, answer.code) == (503, "unavailable")

    assert not system.bus.requests(command.CONFIG_VARIABLE)

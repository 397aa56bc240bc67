"""Who may control a gateway, and how much strangers can make it ask the system."""

from __future__ import annotations

import asyncio

import pytest

from libs.common.errors import KtError
from libs.common.secret import Secret
from services.gateway.application.control import BURST, MAX_AT_ONCE, PER_SECOND, ControlAccess

OPERATOR = "header.operator.signature"


class Verifier:
    """Knows one token; ``hold`` keeps answers back."""

    def __init__(self) -> None:
        self.asked = 0
        self.hold = asyncio.Event()
        self.hold.set()

    async def may_control(self, token: str) -> bool:
        self.asked += 1
        await self.hold.wait()
        return token == OPERATOR


class World:
    def __init__(self) -> None:
        self.now = 0.0
        self.verifier = Verifier()
        self.access = ControlAccess(Secret(b"control-token"), self.verifier, lambda: self.now)

    async def show(self, token: str) -> str:
        """The code of the refusal, empty when it is accepted."""
        try:
            await self.access.check(f"Bearer {token}")
        except KtError as error:
            return error.code
        return ""


@pytest.mark.parametrize(
    ("header", "code"),
    [
        ("", "unauthenticated"),
        ("Basic dXNlcjpwYXNz", "unauthenticated"),
        ("Bearer ", "unauthenticated"),
        ("Bearer wrong", "forbidden"),
        ("Bearer an.other.token", "forbidden"),
        ("Bearer control-token", ""),
        ("bearer control-token", ""),
        (f"Bearer {OPERATOR}", ""),
    ],
)
async def test_control_needs_the_control_token_or_one_that_may_control(header: str, code: str) -> None:
    access = World().access
    if not code:
        await access.check(header)
        return
    with pytest.raises(KtError) as error:
        await access.check(header)
    assert error.value.code == code


async def test_without_a_system_only_the_control_token_opens() -> None:
    access = ControlAccess(Secret(b"control-token"), None, lambda: 0.0)
    await access.check("Bearer control-token")
    with pytest.raises(KtError):
        await access.check(f"Bearer {OPERATOR}")


@pytest.mark.parametrize("shown", ["wrong", "a.b", "a.b.c.d", "a..c", "a.b.c d", "é.b.c", "a.b." + "c" * 8192])
async def test_what_can_not_be_a_token_is_not_asked_about(shown: str) -> None:
    world = World()
    assert await world.show(shown) == "forbidden"
    assert world.verifier.asked == 0


async def test_a_flood_of_tokens_costs_the_system_few_questions() -> None:
    world = World()
    answers = [await world.show(f"a.b.{number}") for number in range(1000)]
    assert world.verifier.asked == BURST
    assert set(answers[BURST:]) == {"overloaded"}
    assert await world.show("control-token") == "", "it needs no question"
    world.now += 1
    assert [await world.show(OPERATOR) for _ in range(3)].count("") == PER_SECOND
    assert world.verifier.asked == BURST + PER_SECOND


async def test_few_questions_are_open_at_once() -> None:
    world = World()
    world.verifier.hold.clear()
    waiting = [asyncio.create_task(world.show(f"a.b.{number}")) for number in range(MAX_AT_ONCE + 3)]
    done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    assert {task.result() for task in done} == {"overloaded"}
    world.verifier.hold.set()
    assert sorted(await asyncio.gather(*waiting)) == ["forbidden"] * MAX_AT_ONCE + ["overloaded"] * 3
    assert await world.show(OPERATOR) == ""

"""A superseded instance leaves the work to its successors, as long as there are some."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from libs.common.errors import KtError
from libs.common.messaging.rpc import Declined
from services.keys.application.succession import Succession
from tests.unit.keys.support import Memory, master, start

OLD, NEW = master(1), master(2)


@dataclass
class Others:
    """The other instances, and what the one under test answers to everything."""

    there: bool = False
    asked: int = 0
    declining: list[KtError | None] = field(default_factory=list)

    async def successor(self) -> bool:
        self.asked += 1
        return self.there


async def left_behind(memory: Memory, others: Others) -> Succession:
    behind = await start(memory.stores(), OLD)
    return Succession(behind.keyring, memory, others.successor, others.declining.append)


async def test_an_instance_that_is_not_superseded_asks_nobody_and_declines_nothing() -> None:
    memory, others = Memory(), Others(there=True)
    succession = await left_behind(memory, others)
    await succession.look()
    assert (others.asked, others.declining) == (0, [None])


async def test_a_superseded_instance_declines_while_a_successor_is_there_and_says_why() -> None:
    memory, others = Memory(), Others()
    succession = await left_behind(memory, others)
    await start(memory.stores(), NEW, [OLD])
    for others.there in (False, True, True, False):
        await succession.look()
    nobody, first, second, gone = others.declining
    assert (nobody, gone) == (None, None)
    for refusal in (first, second):
        assert isinstance(refusal, Declined)
        assert NEW.fingerprint in refusal.detail
        assert OLD.fingerprint in refusal.detail


async def test_it_logs_once_when_it_stops_and_once_when_it_begins_again(caplog: pytest.LogCaptureFixture) -> None:
    memory, others = Memory(), Others(there=True)
    succession = await left_behind(memory, others)
    await start(memory.stores(), NEW, [OLD])
    for _ in range(3):
        await succession.look()
    await start(memory.stores(), OLD, [NEW])
    for _ in range(3):
        await succession.look()
    assert [m for m in caplog.messages if m.startswith(("keys.", "keyring.superseded"))] == [
        "keyring.superseded",
        "keys.declines_work",
        "keys.takes_work",
    ]
    assert others.declining[-1] is None


async def test_keys_that_others_made_are_learned_without_being_asked_for() -> None:
    memory, others = Memory(), Others()
    instance, other = await start(memory.stores(), OLD), await start(memory.stores(), OLD)
    succession = Succession(instance.keyring, memory, others.successor, others.declining.append)
    sealed = await other.seal(b"value")
    assert instance.keyring.key_encryption_key(sealed.key_id) is None
    await succession.look()
    assert instance.keyring.key_encryption_key(sealed.key_id) is not None

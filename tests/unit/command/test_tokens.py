"""Tokens: issued once, revoked once, also when nothing is known of their issue."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from libs.common.events import decode
from libs.common.events.token import TokenIssued, TokenRevoked
from libs.common.ids import Uuid7Factory
from libs.common.protocol.command import RecordToken
from libs.common.protocol.parties import Caller
from libs.common.protocol.tokens import RevokeToken
from services.command.application.aggregates import Aggregates
from services.command.application.tokens import Tokens
from services.command.domain.token import TOKEN, Issue, Revoke, TokenCommand
from tests.unit.common.stores import MemoryStore

CALLER = Caller(org="acme", actor_type="admin", actor_id="alice", request_id="r1")
ISSUE = Issue("machine", "ci", 1795419543, "k1", ("OPENAI_*",))
ISSUED = TokenIssued("machine", "ci", 1795419543, "k1", ("OPENAI_*",))
REVOKED = TokenRevoked("machine", "ci", 1795419543)


class At:
    def now(self) -> datetime:
        return datetime(2026, 11, 23, tzinfo=UTC)


def events_of(*commands: TokenCommand) -> list[object]:
    state, events = TOKEN.initial, list[object]()
    for command in commands:
        for event in TOKEN.decide(command, state):
            state = TOKEN.evolve(state, event)
            events.append(event)
    return events


def test_a_revocation_says_what_was_revoked() -> None:
    assert events_of(ISSUE, Revoke()) == [ISSUED, REVOKED]


def test_a_token_that_was_signed_elsewhere_can_be_revoked() -> None:
    assert events_of(Revoke()) == [TokenRevoked("", "", 0)]


def test_an_id_that_was_revoked_is_not_issued_any_more() -> None:
    assert events_of(Revoke(), ISSUE) == [TokenRevoked("", "", 0)]


@given(st.lists(st.sampled_from([ISSUE, Revoke()]), max_size=8))
def test_nothing_follows_a_revocation_and_nothing_happens_twice(commands: list[TokenCommand]) -> None:
    kinds = [type(event) for event in events_of(*commands)]
    assert len(set(kinds)) == len(kinds)
    assert TokenRevoked not in kinds[:-1]


def world() -> tuple[Tokens, MemoryStore]:
    store = MemoryStore()
    return Tokens(Aggregates(store, At(), Uuid7Factory())), store


def revoke(token_id: str, command_id: str = "c1") -> RevokeToken:
    return RevokeToken(command_id=command_id, caller=CALLER, token_id=token_id)


async def test_revoking_again_changes_nothing_and_says_so() -> None:
    tokens, store = world()
    issue = RecordToken(
        command_id="c0",
        caller=CALLER,
        token_id="t1",
        role="machine",
        name="ci",
        expires_at=7,
        key_id="k",
        references=(),
    )
    await tokens.record("", issue)

    first, again = await tokens.revoke("", revoke("t1")), await tokens.revoke("", revoke("t1", "c2"))

    assert (first.sequence, first.role, first.name, first.expires_at, first.repeated) == (
        2,
        "machine",
        "ci",
        7,
        False,
    )
    assert (again.sequence, again.repeated) == (2, True)
    subject, body = store.messages[-1]
    assert (len(store.messages), subject) == (2, "kt.evt.v1.acme.token.t1")
    assert decode(body, 2).event == TokenRevoked("machine", "ci", 7)
    assert decode(body, 2).metadata.actor.id == "alice"


async def test_many_at_once_revoke_it_once() -> None:
    tokens, store = world()
    outcomes = await asyncio.gather(*(tokens.revoke("", revoke("t1", f"c{n}")) for n in range(8)))
    assert len(store.messages) == 1
    assert sorted(outcome.repeated for outcome in outcomes) == [False] + [True] * 7


async def test_an_id_that_can_not_be_a_subject_is_digested() -> None:
    tokens, store = world()
    await tokens.revoke("", revoke("urn:a.b>*"))
    ((subject, _),) = store.messages
    assert subject.startswith("kt.evt.v1.acme.token.jti-")
    assert len(subject.split(".")) == 6

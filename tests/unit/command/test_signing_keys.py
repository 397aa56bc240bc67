"""Changes of the signing keys: each is on record once, whoever tells of it and when."""

from __future__ import annotations

import asyncio
import itertools
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from libs.common.events import decode
from libs.common.events.token import SigningKeysChanged
from libs.common.ids import Uuid7Factory
from libs.common.protocol.command import RecordSigningKeys
from libs.common.protocol.parties import Caller
from services.command.application.aggregates import Aggregates
from services.command.application.records import Records
from services.command.domain.signing_keys import SIGNING_KEYS, Kids, RecordKeys, SigningKeys
from tests.unit.common.stores import MemoryStore

CALLER = Caller(org="default", actor_type="service", actor_id="api", request_id="r1")
A, AB, B, BC = ("a",), ("a", "b"), ("b",), ("b", "c")


class At:
    def now(self) -> datetime:
        return datetime(2026, 11, 23, tzinfo=UTC)


def told(*reports: tuple[Kids, Kids]) -> list[Kids]:
    state, sets = SIGNING_KEYS.initial, []
    for before, kids in reports:
        for event in SIGNING_KEYS.decide(RecordKeys(before, kids), state):
            state = SIGNING_KEYS.evolve(state, event)
            sets.append(event.kids)
    return sets


def test_the_first_set_is_on_record_and_each_start_with_the_same_changes_nothing() -> None:
    assert told(((), A), ((), A), ((), A)) == [A]


def test_what_came_and_went_is_named() -> None:
    (event,) = SIGNING_KEYS.decide(RecordKeys((), BC), SigningKeys(AB))
    assert event == SigningKeysChanged(BC, "c", added=("c",), removed=("a",))


def test_the_same_keys_in_another_order_are_a_change_because_another_one_signs() -> None:
    (event,) = SIGNING_KEYS.decide(RecordKeys((), ("b", "a")), SigningKeys(AB))
    assert event == SigningKeysChanged(("b", "a"), "a", added=(), removed=())


def test_three_instances_that_restart_one_after_the_other_make_one_change() -> None:
    assert told(((), A), ((), A), ((), A), ((), AB), ((), AB), ((), AB)) == [A, AB]


def test_an_instance_that_is_late_adds_nothing() -> None:
    assert told(((), A), (A, AB), (AB, B), (A, AB), (AB, B)) == [A, AB, B]


def test_going_back_is_a_change_and_so_is_going_there_again() -> None:
    assert told(((), A), (A, AB), (AB, A), (A, AB)) == [A, AB, A, AB]


@given(st.lists(st.sampled_from([A, AB, B, BC]), min_size=1, max_size=4), st.data())
def test_however_instances_that_go_the_same_way_interleave_each_set_is_on_record_once(
    way: list[Kids], data: st.DataObject
) -> None:
    way = [kids for kids, _ in itertools.groupby(dict.fromkeys(way))]
    steps = list(itertools.pairwise(way))
    reports: list[tuple[Kids, Kids]] = [((), way[0])] * 3
    places = [0, 0, 0]
    while any(place < len(steps) for place in places):
        instance = data.draw(st.sampled_from([i for i in range(3) if places[i] < len(steps)]))
        reports.append(steps[places[instance]])
        places[instance] += 1
    assert told(*reports) == way


async def test_instances_that_tell_at_the_same_time_get_it_on_record_once() -> None:
    store = MemoryStore()
    records = Records(Aggregates(store, At(), Uuid7Factory()))
    requests = [RecordSigningKeys(command_id=f"c{number}", caller=CALLER, before=(), kids=AB) for number in range(8)]

    sequences = await asyncio.gather(*(records.record_signing_keys("", request) for request in requests))

    ((subject, body),) = store.messages
    assert subject == "kt.evt.v1.default.signing_keys.jwt"
    assert decode(body, 1).event == SigningKeysChanged(AB, "b", added=AB, removed=())
    assert {recorded.sequence for recorded in sequences} == {1}

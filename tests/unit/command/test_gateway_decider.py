"""Enrolling gateways: each token of a gateway is on record once, with what it may resolve."""

from __future__ import annotations

from itertools import pairwise

import orjson
from hypothesis import given
from hypothesis import strategies as st

from libs.common.events import REGISTRY
from libs.common.events.gateway import GatewayEnrolled
from services.command.domain.gateway import GATEWAY, Enroll

ENROLMENTS = st.builds(Enroll, st.sampled_from(["t1", "t2"]), st.sampled_from([("A*",), ("B*",)]))


@given(st.lists(ENROLMENTS))
def test_the_last_enrolment_of_each_token_counts_and_none_is_repeated(commands: list[Enroll]) -> None:
    state, recorded, wanted = GATEWAY.initial, dict[str, list[tuple[str, ...]]](), dict[str, tuple[str, ...]]()
    for command in commands:
        wanted[command.token_id] = command.references
        for event in GATEWAY.decide(command, state):
            state = GATEWAY.evolve(state, event)
            recorded.setdefault(event.token_id, []).append(event.references)
    assert {token: events[-1] for token, events in recorded.items()} == wanted
    assert all(a != b for events in recorded.values() for a, b in pairwise(events))


def test_an_enrolment_of_the_first_kind_belongs_to_no_token() -> None:
    detail = orjson.loads(b'{"references": ["OPENAI_*"]}')
    assert REGISTRY.read("kt.gateway.enrolled.v1", detail) == GatewayEnrolled("", ("OPENAI_*",))

"""A deep rotation begins once and is completed once, however often that is told."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from libs.common.events.encryption_key import DeepRotationCompleted, DeepRotationStarted
from services.command.domain.deep_rotation import DEEP_ROTATION, Event, Record

STARTED = DeepRotationStarted("r-1", ("key-1",), "key-2", "key-3", 12)
COMPLETED = DeepRotationCompleted("r-1", "key-2", 12, 0, ("key-1",))
events = st.sampled_from([replace(event, rotation_id=r) for event in (STARTED, COMPLETED) for r in ("r-1", "r-2")])


def decided(*told: Event) -> list[Event]:
    history: list[Event] = []
    for event in told:
        history += DEEP_ROTATION.decide(Record(event), DEEP_ROTATION.fold(history))
    return history


def test_start_and_completion_are_recorded_as_told() -> None:
    assert decided(STARTED, COMPLETED) == [STARTED, COMPLETED]


@given(st.lists(events, max_size=12))
def test_each_is_recorded_once(told: list[Event]) -> None:
    assert decided(*told) == list(dict.fromkeys(told))

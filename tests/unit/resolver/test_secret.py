"""A variable's state accepts only what the command service would have decided."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.events import Actor, MalformedEvent, Metadata, Origin, RecordedEvent, Resource
from libs.common.events.config_variable import (
    ConfigVariableCreated,
    ConfigVariableDeleted,
    ConfigVariableRolledBack,
    ConfigVariableRotated,
    ConfigVariableUpdated,
    ConfigVariableVersionDestroyed,
)
from libs.common.events.secret import SealedRef, SecretEvent
from services.resolver.domain.secret import SecretState, evolve

CREATED = ConfigVariableCreated(1, "", True, SealedRef("s1", "d1"))


def rotated(version: int) -> ConfigVariableRotated:
    return ConfigVariableRotated(version, SealedRef(f"s{version}", f"d{version}"))


def recorded(event: SecretEvent, sequence: int = 1) -> RecordedEvent:
    metadata = Metadata(str(sequence), "2026-11-23T08:00:00Z", "acme", "test", Actor("admin", "a"), Origin("r"))
    return RecordedEvent(event, Resource("config_variable", "KEY"), metadata, sequence)


def fold(events: Sequence[SecretEvent]) -> SecretState | None:
    state: SecretState | None = None
    for sequence, event in enumerate(events, 1):
        state = evolve(state, recorded(event, sequence))
    return state


def refused(events: Sequence[SecretEvent]) -> bool:
    try:
        fold(events)
    except MalformedEvent:
        return True
    return False


@st.composite
def histories(draw: st.DrawFn) -> list[SecretEvent]:
    """Histories as the command service writes them, deletions and new creations among them."""
    events: list[SecretEvent] = []
    version, exists = 0, False
    for kind in draw(st.lists(st.sampled_from(["value", "roll_back", "delete"]), min_size=1, max_size=12)):
        if not exists:
            version, exists = version + 1, True
            events.append(ConfigVariableCreated(version, "", True, SealedRef(f"s{version}", "d")))
        elif kind == "delete":
            exists = False
            events.append(ConfigVariableDeleted(version))
        else:
            version += 1
            sealed = SealedRef(f"s{version}", "d")
            rolled_back = ConfigVariableRolledBack(version, version - 1, sealed)
            events.append(rolled_back if kind == "roll_back" else ConfigVariableRotated(version, sealed))
    return events


@given(histories(), st.data())
def test_an_event_that_is_stored_again_is_refused_wherever_it_turns_up(
    events: list[SecretEvent], data: st.DataObject
) -> None:
    assert not refused(events)
    again = data.draw(st.integers(0, len(events) - 1))
    at = data.draw(st.integers(again + 1, len(events)))
    assert refused([*events[:at], events[again], *events[at:]])


@given(histories(), st.data())
def test_an_event_that_is_left_out_is_noticed_by_the_next(events: list[SecretEvent], data: st.DataObject) -> None:
    if len(events) > 1:
        gone = data.draw(st.integers(0, len(events) - 2))
        assert refused(events[:gone] + events[gone + 1 :])


@pytest.mark.parametrize(
    "history",
    [
        [rotated(1)],
        [ConfigVariableDeleted(1)],
        [ConfigVariableUpdated("", True)],
        [CREATED, CREATED],
        [CREATED, rotated(1)],
        [CREATED, rotated(3)],
        [CREATED, ConfigVariableDeleted(2)],
        [CREATED, ConfigVariableVersionDestroyed(1, SealedRef("s1", "d1"))],
        [CREATED, rotated(2), ConfigVariableVersionDestroyed(2, SealedRef("s2", "d2"))],
        [CREATED, ConfigVariableUpdated("", False)],
        [CREATED, ConfigVariableDeleted(1), ConfigVariableUpdated("", True)],
        [CREATED, ConfigVariableDeleted(1), rotated(2)],
    ],
)
def test_what_does_not_follow_is_refused(history: list[SecretEvent]) -> None:
    assert not refused(history[:-1])
    assert refused(history)


def test_the_state_is_that_of_the_last_event() -> None:
    state = fold([CREATED, rotated(2), ConfigVariableUpdated("for tests", True)])
    assert state is not None
    assert (state.version, state.description, state.sealed, state.sequence) == (
        2,
        "for tests",
        SealedRef("s2", "d2"),
        3,
    )

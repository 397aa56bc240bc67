"""What became of the values of a name."""

from __future__ import annotations

from libs.common.events import Actor, Metadata, Origin, RecordedEvent, Resource
from libs.common.events.config_variable import (
    ConfigVariableCreated,
    ConfigVariableDeleted,
    ConfigVariableRolledBack,
    ConfigVariableRotated,
    ConfigVariableUpdated,
    ConfigVariableVersionDestroyed,
)
from libs.common.events.secret import SealedRef, SecretEvent
from services.resolver.domain.history import value_states
from services.resolver.domain.secret import SecretState, evolve

SEALED = SealedRef("id", "digest")
METADATA = Metadata("e", "2026-11-23T07:39:03.192164Z", "default", "test", Actor("admin", "a"), Origin("r"))


def recorded(*events: SecretEvent) -> list[RecordedEvent]:
    return [RecordedEvent(e, Resource("config_variable", "A"), METADATA, n) for n, e in enumerate(events, 11)]


CREATED = ConfigVariableCreated(1, "", True, SEALED)
ROTATED = ConfigVariableRotated(2, SEALED)
BACK = ConfigVariableRolledBack(3, 1, SEALED)
DESTROYED = ConfigVariableVersionDestroyed(1, SEALED)


def test_the_newest_is_current_and_older_ones_are_kept() -> None:
    events = recorded(CREATED, ROTATED, BACK, ConfigVariableUpdated("x", True))
    assert value_states(events) == {11: "kept", 12: "kept", 13: "current"}


def test_a_destroyed_version_is_told_apart() -> None:
    events = recorded(CREATED, ROTATED, DESTROYED)
    assert value_states(events) == {11: "destroyed", 12: "current"}
    assert value_states(recorded(CREATED, ROTATED, DESTROYED, DESTROYED)) == {11: "destroyed", 12: "current"}


def test_a_deletion_destroys_them_all_and_spares_what_comes_behind_it() -> None:
    deleted, again = ConfigVariableDeleted(2), ConfigVariableCreated(3, "", True, SEALED)
    assert value_states(recorded(CREATED, ROTATED, deleted)) == {11: "destroyed", 12: "destroyed"}
    states = value_states(recorded(CREATED, ROTATED, deleted, again))
    assert states == {11: "destroyed", 12: "destroyed", 14: "current"}


def test_what_is_resolved_stays_the_same_when_an_older_version_is_destroyed() -> None:
    state: SecretState | None = None
    for event in recorded(CREATED, ROTATED):
        state = evolve(state, event)
    before = state
    assert before is not None
    after = evolve(before, recorded(CREATED, ROTATED, DESTROYED)[-1])
    assert after is not None
    assert (after.version, after.sealed, after.sequence) == (before.version, before.sealed, 13)

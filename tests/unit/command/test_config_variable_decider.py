"""The config variable as given / when / then, and as properties over any script of commands."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.errors import KtError
from libs.common.events.config_variable import (
    ConfigVariableCreated,
    ConfigVariableDeleted,
    ConfigVariableEvent,
    ConfigVariableRolledBack,
    ConfigVariableRotated,
    ConfigVariableUpdated,
    ConfigVariableVersionDestroyed,
    SealedRef,
)
from services.command.domain.config_variable import (
    CONFIG_VARIABLE,
    ConfigVariableCommand,
    Create,
    Delete,
    DestroyVersion,
    RollBack,
    Rotate,
    Update,
)

ONE, TWO, THREE = (SealedRef(name, name * 3) for name in ("one", "two", "three"))
CREATED = ConfigVariableCreated(1, "OpenAI", sensitive=True, sealed=ONE)
ROTATED = ConfigVariableRotated(2, TWO)
DELETED = ConfigVariableDeleted(2)


def when(command: ConfigVariableCommand, *given: ConfigVariableEvent) -> list[ConfigVariableEvent]:
    return list(CONFIG_VARIABLE.decide(command, CONFIG_VARIABLE.fold(given)))


def refused(command: ConfigVariableCommand, *given: ConfigVariableEvent) -> str:
    with pytest.raises(KtError) as caught:
        when(command, *given)
    return caught.value.code


def test_a_new_name_is_created_with_version_1() -> None:
    assert when(Create("OpenAI", sensitive=True, sealed=ONE)) == [CREATED]


def test_a_name_that_exists_is_not_created_again() -> None:
    assert refused(Create("other", sensitive=True, sealed=TWO), CREATED) == "already_exists"


def test_rotation_adds_a_version() -> None:
    assert when(Rotate(TWO), CREATED) == [ROTATED]


def test_roll_back_is_a_new_version_with_an_old_value() -> None:
    assert when(RollBack(1, THREE), CREATED, ROTATED) == [ConfigVariableRolledBack(3, 1, THREE)]


@pytest.mark.parametrize(("version", "code"), [(2, "invalid_request"), (3, "not_found"), (0, "not_found")])
def test_roll_back_goes_to_an_older_version_only(version: int, code: str) -> None:
    assert refused(RollBack(version, THREE), CREATED, ROTATED) == code


def test_a_deletion_ends_the_variable_and_its_old_versions() -> None:
    assert when(Delete(), CREATED, ROTATED) == [DELETED]
    assert refused(Rotate(THREE), CREATED, ROTATED, DELETED) == "not_found"
    again = ConfigVariableCreated(3, "", sensitive=True, sealed=THREE)
    assert when(Create("", sensitive=True, sealed=THREE), CREATED, ROTATED, DELETED) == [again]
    assert refused(RollBack(1, ONE), CREATED, ROTATED, DELETED, again) == "not_found"


def test_an_older_version_is_destroyed_for_good() -> None:
    destroyed = ConfigVariableVersionDestroyed(1, ONE)
    assert when(DestroyVersion(1), CREATED, ROTATED) == [destroyed]
    assert when(DestroyVersion(1), CREATED, ROTATED, destroyed) == []
    with pytest.raises(KtError, match="version 1 was destroyed") as caught:
        when(RollBack(1, THREE), CREATED, ROTATED, destroyed)
    assert caught.value.code == "not_found"
    assert when(Rotate(THREE), CREATED, ROTATED, destroyed) == [ConfigVariableRotated(3, THREE)]


@pytest.mark.parametrize(("version", "code"), [(2, "invalid_request"), (3, "not_found"), (0, "not_found")])
def test_only_an_older_version_can_be_destroyed(version: int, code: str) -> None:
    assert refused(DestroyVersion(version), CREATED, ROTATED) == code


def test_a_version_that_a_deletion_destroyed_stays_destroyed() -> None:
    again = ConfigVariableCreated(3, "", sensitive=True, sealed=THREE)
    assert when(DestroyVersion(1), CREATED, ROTATED, DELETED, again) == []
    assert refused(DestroyVersion(1), CREATED, ROTATED, DELETED) == "not_found"


def test_an_update_changes_what_it_names_and_nothing_else() -> None:
    assert when(Update("new", None), CREATED) == [ConfigVariableUpdated("new", sensitive=True)]


def test_an_update_that_changes_nothing_is_no_event() -> None:
    assert when(Update("OpenAI", sensitive=True), CREATED) == []


def test_a_sensitive_variable_stays_sensitive() -> None:
    assert refused(Update(None, sensitive=False), CREATED) == "invalid_request"


def test_a_description_has_a_limit() -> None:
    assert refused(Create("x" * 1025, sensitive=True, sealed=ONE)) == "invalid_request"
    assert refused(Update("x" * 1025, None), CREATED) == "invalid_request"


@pytest.mark.parametrize("command", [Update("x", None), Rotate(TWO), RollBack(1, TWO), Delete(), DestroyVersion(1)])
def test_nothing_is_done_to_a_name_that_does_not_exist(command: ConfigVariableCommand) -> None:
    assert refused(command) == "not_found"


sealed = st.builds(SealedRef, st.uuids().map(str), st.just("digest"))
commands = st.one_of(
    st.builds(Create, st.text(max_size=9), st.booleans(), sealed),
    st.builds(Update, st.none() | st.text(max_size=9), st.none() | st.booleans()),
    st.builds(Rotate, sealed),
    st.builds(RollBack, st.integers(0, 6), sealed),
    st.just(Delete()),
    st.builds(DestroyVersion, st.integers(0, 6)),
)


def history_of(script: Sequence[ConfigVariableCommand]) -> list[ConfigVariableEvent]:
    events: list[ConfigVariableEvent] = []
    for command in script:
        try:
            events += when(command, *events)
        except KtError:
            continue
    return events


@given(st.lists(commands, max_size=25))
def test_versions_only_grow_and_never_mean_two_values(script: list[ConfigVariableCommand]) -> None:
    versions = [
        e.version
        for e in history_of(script)
        if isinstance(e, ConfigVariableCreated | ConfigVariableRotated | ConfigVariableRolledBack)
    ]
    assert versions == sorted(set(versions))


@given(st.lists(commands, max_size=25))
def test_behind_a_deletion_only_a_creation_follows(script: list[ConfigVariableCommand]) -> None:
    events = history_of(script)
    for before, after in itertools.pairwise(events):
        if isinstance(before, ConfigVariableDeleted):
            assert isinstance(after, ConfigVariableCreated)


@given(st.lists(commands, max_size=25), st.integers(1, 9))
def test_what_was_destroyed_is_never_current_and_never_comes_back(
    script: list[ConfigVariableCommand], version: int
) -> None:
    events = history_of(script)
    state = CONFIG_VARIABLE.fold(events)
    if any(isinstance(e, ConfigVariableVersionDestroyed) and e.version == version for e in events):
        assert state.is_destroyed(version)
        assert version < state.version
        if state.exists:
            assert refused(RollBack(version, ONE), *events) == "not_found"
    if state.exists:
        assert state.value_of(state.version) is not None


@given(st.lists(commands, max_size=25))
def test_a_variable_never_turns_from_sensitive_to_shown(script: list[ConfigVariableCommand]) -> None:
    sensitive = False
    for event in history_of(script):
        if isinstance(event, ConfigVariableCreated):
            sensitive = event.sensitive
        if isinstance(event, ConfigVariableUpdated):
            assert event.sensitive >= sensitive
            sensitive = event.sensitive


@given(st.lists(commands, max_size=25), commands)
def test_deciding_changes_nothing(script: list[ConfigVariableCommand], command: ConfigVariableCommand) -> None:
    events = history_of(script)

    def attempt() -> object:
        try:
            return when(command, *events)
        except KtError as error:
            return error.code

    assert attempt() == attempt()

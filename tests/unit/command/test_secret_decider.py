"""A secret as given / when / then, and as properties over any script of commands: every kind behaves the same."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.errors import KtError
from libs.common.events.secret import (
    SealedRef,
    SecretCreated,
    SecretDeleted,
    SecretEvent,
    SecretRolledBack,
    SecretRotated,
    SecretUpdated,
    SecretVersionDestroyed,
)
from libs.common.secret_kinds import CONFIG_VARIABLE, GIT_TOKEN, KINDS, SecretKind
from services.command.domain.secret import (
    Create,
    Delete,
    DestroyVersion,
    RollBack,
    Rotate,
    SecretCommand,
    Update,
    secret_decider,
)

ONE, TWO, THREE = (SealedRef(name, name * 3) for name in ("one", "two", "three"))


@dataclass(frozen=True)
class Spec:
    """One kind, and events of it to begin with."""

    kind: SecretKind

    @property
    def created(self) -> SecretEvent:
        return self.kind.created(1, "OpenAI", sensitive=True, sealed=ONE)

    @property
    def rotated(self) -> SecretEvent:
        return self.kind.rotated(2, TWO)

    @property
    def deleted(self) -> SecretEvent:
        return self.kind.deleted(2)

    def when(self, command: SecretCommand, *given: SecretEvent) -> list[SecretEvent]:
        decider = secret_decider(self.kind)
        return list(decider.decide(command, decider.fold(given)))

    def refused(self, command: SecretCommand, *given: SecretEvent) -> str:
        with pytest.raises(KtError) as caught:
            self.when(command, *given)
        return caught.value.code


every_kind = pytest.mark.parametrize("spec", [Spec(kind) for kind in KINDS.values()], ids=list(KINDS))


@every_kind
def test_a_new_name_is_created_with_version_1(spec: Spec) -> None:
    assert spec.when(Create("OpenAI", sensitive=True, sealed=ONE)) == [spec.created]


@every_kind
def test_a_name_that_exists_is_not_created_again(spec: Spec) -> None:
    assert spec.refused(Create("other", sensitive=True, sealed=TWO), spec.created) == "already_exists"


@every_kind
def test_rotation_adds_a_version(spec: Spec) -> None:
    assert spec.when(Rotate(TWO), spec.created) == [spec.rotated]


@every_kind
def test_roll_back_is_a_new_version_with_an_old_value(spec: Spec) -> None:
    assert spec.when(RollBack(1, THREE), spec.created, spec.rotated) == [spec.kind.rolled_back(3, 1, THREE)]


@every_kind
@pytest.mark.parametrize(("version", "code"), [(2, "invalid_request"), (3, "not_found"), (0, "not_found")])
def test_roll_back_goes_to_an_older_version_only(spec: Spec, version: int, code: str) -> None:
    assert spec.refused(RollBack(version, THREE), spec.created, spec.rotated) == code


@every_kind
def test_a_deletion_ends_the_secret_and_its_old_versions(spec: Spec) -> None:
    assert spec.when(Delete(), spec.created, spec.rotated) == [spec.deleted]
    assert spec.refused(Rotate(THREE), spec.created, spec.rotated, spec.deleted) == "not_found"
    again = spec.kind.created(3, "", sensitive=True, sealed=THREE)
    assert spec.when(Create("", sensitive=True, sealed=THREE), spec.created, spec.rotated, spec.deleted) == [again]
    assert spec.refused(RollBack(1, ONE), spec.created, spec.rotated, spec.deleted, again) == "not_found"


@every_kind
def test_an_older_version_is_destroyed_for_good(spec: Spec) -> None:
    destroyed = spec.kind.version_destroyed(1, ONE)
    assert spec.when(DestroyVersion(1), spec.created, spec.rotated) == [destroyed]
    assert spec.when(DestroyVersion(1), spec.created, spec.rotated, destroyed) == []
    with pytest.raises(KtError, match="version 1 was destroyed") as caught:
        spec.when(RollBack(1, THREE), spec.created, spec.rotated, destroyed)
    assert caught.value.code == "not_found"
    assert spec.when(Rotate(THREE), spec.created, spec.rotated, destroyed) == [spec.kind.rotated(3, THREE)]


@every_kind
@pytest.mark.parametrize(("version", "code"), [(2, "invalid_request"), (3, "not_found"), (0, "not_found")])
def test_only_an_older_version_can_be_destroyed(spec: Spec, version: int, code: str) -> None:
    assert spec.refused(DestroyVersion(version), spec.created, spec.rotated) == code


@every_kind
def test_a_version_that_a_deletion_destroyed_stays_destroyed(spec: Spec) -> None:
    again = spec.kind.created(3, "", sensitive=True, sealed=THREE)
    assert spec.when(DestroyVersion(1), spec.created, spec.rotated, spec.deleted, again) == []
    assert spec.refused(DestroyVersion(1), spec.created, spec.rotated, spec.deleted) == "not_found"


@every_kind
def test_an_update_changes_what_it_names_and_nothing_else(spec: Spec) -> None:
    assert spec.when(Update("new", None), spec.created) == [spec.kind.updated("new", sensitive=True)]


@every_kind
def test_an_update_that_changes_nothing_is_no_event(spec: Spec) -> None:
    assert spec.when(Update("OpenAI", sensitive=True), spec.created) == []


@every_kind
def test_a_sensitive_secret_stays_sensitive(spec: Spec) -> None:
    assert spec.refused(Update(None, sensitive=False), spec.created) == "invalid_request"


@every_kind
def test_a_description_has_a_limit(spec: Spec) -> None:
    assert spec.refused(Create("x" * 1025, sensitive=True, sealed=ONE)) == "invalid_request"
    assert spec.refused(Update("x" * 1025, None), spec.created) == "invalid_request"


@every_kind
@pytest.mark.parametrize("command", [Update("x", None), Rotate(TWO), RollBack(1, TWO), Delete(), DestroyVersion(1)])
def test_nothing_is_done_to_a_name_that_does_not_exist(spec: Spec, command: SecretCommand) -> None:
    assert spec.refused(command) == "not_found"


sealed = st.builds(SealedRef, st.uuids().map(str), st.just("digest"))
commands = st.one_of(
    st.builds(Create, st.text(max_size=9), st.booleans(), sealed),
    st.builds(Update, st.none() | st.text(max_size=9), st.none() | st.booleans()),
    st.builds(Rotate, sealed),
    st.builds(RollBack, st.integers(0, 6), sealed),
    st.just(Delete()),
    st.builds(DestroyVersion, st.integers(0, 6)),
)


def history_of(spec: Spec, script: Sequence[SecretCommand]) -> list[SecretEvent]:
    events: list[SecretEvent] = []
    for command in script:
        try:
            events += spec.when(command, *events)
        except KtError:
            continue
    return events


@every_kind
@given(st.lists(commands, max_size=25))
def test_versions_only_grow_and_never_mean_two_values(spec: Spec, script: list[SecretCommand]) -> None:
    versions = [
        e.version for e in history_of(spec, script) if isinstance(e, SecretCreated | SecretRotated | SecretRolledBack)
    ]
    assert versions == sorted(set(versions))


@every_kind
@given(st.lists(commands, max_size=25))
def test_behind_a_deletion_only_a_creation_follows(spec: Spec, script: list[SecretCommand]) -> None:
    events = history_of(spec, script)
    for before, after in itertools.pairwise(events):
        if isinstance(before, SecretDeleted):
            assert isinstance(after, SecretCreated)


@every_kind
@given(st.lists(commands, max_size=25), st.integers(1, 9))
def test_what_was_destroyed_is_never_current_and_never_comes_back(
    spec: Spec, script: list[SecretCommand], version: int
) -> None:
    events = history_of(spec, script)
    state = secret_decider(spec.kind).fold(events)
    if any(isinstance(e, SecretVersionDestroyed) and e.version == version for e in events):
        assert state.is_destroyed(version)
        assert version < state.version
        if state.exists:
            assert spec.refused(RollBack(version, ONE), *events) == "not_found"
    if state.exists:
        assert state.value_of(state.version) is not None


@every_kind
@given(st.lists(commands, max_size=25))
def test_a_secret_never_turns_from_sensitive_to_shown(spec: Spec, script: list[SecretCommand]) -> None:
    sensitive = False
    for event in history_of(spec, script):
        if isinstance(event, SecretCreated):
            sensitive = event.sensitive
        if isinstance(event, SecretUpdated):
            assert event.sensitive >= sensitive
            sensitive = event.sensitive


@every_kind
@given(st.lists(commands, max_size=25), commands)
def test_deciding_changes_nothing(spec: Spec, script: list[SecretCommand], command: SecretCommand) -> None:
    events = history_of(spec, script)

    def attempt() -> object:
        try:
            return spec.when(command, *events)
        except KtError as error:
            return error.code

    assert attempt() == attempt()


def test_a_git_token_is_never_one_that_may_be_shown() -> None:
    assert Spec(GIT_TOKEN).refused(Create("", sensitive=False, sealed=ONE)) == "invalid_request"
    assert Spec(CONFIG_VARIABLE).when(Create("", sensitive=False, sealed=ONE)) != []


@every_kind
@given(st.lists(commands, max_size=9))
def test_a_kind_writes_events_of_its_own_alone(spec: Spec, script: list[SecretCommand]) -> None:
    kind = spec.kind
    own = {kind.created, kind.updated, kind.rotated, kind.rolled_back, kind.deleted, kind.version_destroyed}
    assert {type(event) for event in history_of(spec, script)} <= own

"""The webhook as given / when / then, and as properties over any script of commands."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.clock import rfc3339
from libs.common.errors import KtError
from libs.common.events.secret import SealedRef
from libs.common.events.webhook import (
    WebhookCreated,
    WebhookDeleted,
    WebhookDisabled,
    WebhookEvent,
    WebhookSecretRetired,
    WebhookSecretRotated,
    WebhookUpdated,
)
from services.command.domain.webhook import (
    MAX_OLD_SECRETS,
    WEBHOOK,
    Create,
    Delete,
    Disable,
    RetireSecrets,
    RotateSecret,
    Update,
    Webhook,
    WebhookCommand,
)

NOW = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
DAY = timedelta(days=1)
URL = "https://receiver.example.com/kt"
ONE, TWO, THREE = (SealedRef(name, name * 3) for name in ("one", "two", "three"))
CREATED = WebhookCreated(URL, ("kt.config_variable.*",), "on call", ONE)
ROTATED = WebhookSecretRotated(TWO, rfc3339(NOW + DAY))
DELETED = WebhookDeleted()


def when(command: WebhookCommand, *given: WebhookEvent) -> list[WebhookEvent]:
    return list(WEBHOOK.decide(command, WEBHOOK.fold(given)))


def refused(command: WebhookCommand, *given: WebhookEvent) -> str:
    with pytest.raises(KtError) as caught:
        when(command, *given)
    return caught.value.code


def test_a_new_webhook_is_created() -> None:
    assert when(Create(URL, ("kt.config_variable.*",), "on call", ONE)) == [CREATED]
    assert refused(Create(URL, ("*",), "", TWO), CREATED) == "already_exists"


@pytest.mark.parametrize(
    "command",
    [
        Create("", ("*",), "", ONE),
        Create("https://x.example/" + "x" * 2048, ("*",), "", ONE),
        Create(URL, (), "", ONE),
        Create(URL, ("*", "*"), "", ONE),
        Create(URL, ("kt.config_variable.rotatd.v1",), "", ONE),
        Create(URL, ("*",), "x" * 1025, ONE),
    ],
    ids=["no URL", "long URL", "no types", "a type twice", "no such type", "long description"],
)
def test_what_is_not_valid_is_refused(command: Create) -> None:
    assert refused(command) == "invalid_request"


def test_an_update_changes_what_it_names_and_nothing_else() -> None:
    assert when(Update(description="new"), CREATED) == [
        WebhookUpdated(URL, ("kt.config_variable.*",), "new", enabled=True)
    ]
    assert when(Update(url=URL, enabled=True), CREATED) == []


def test_a_webhook_that_was_disabled_can_be_enabled_again() -> None:
    gone = WebhookDisabled("gone")
    assert when(Disable("gone"), CREATED) == [gone]
    assert when(Disable("gone"), CREATED, gone) == []
    (enabled,) = when(Update(enabled=True), CREATED, gone)
    state = WEBHOOK.fold([CREATED, gone, enabled])
    assert (state.enabled, state.disabled_reason) == (True, "")


def test_the_old_secret_stays_valid_for_the_overlap_and_is_then_retired() -> None:
    assert when(RotateSecret(TWO, NOW, DAY), CREATED) == [ROTATED]
    assert when(RetireSecrets(NOW + DAY - timedelta(seconds=1)), CREATED, ROTATED) == []
    retired = WebhookSecretRetired((ONE,))
    assert when(RetireSecrets(NOW + DAY), CREATED, ROTATED) == [retired]
    assert when(RetireSecrets(NOW + 9 * DAY), CREATED, ROTATED, retired) == []


def test_an_overlap_of_nothing_ends_every_older_secret_at_once() -> None:
    given = [CREATED, ROTATED, *when(RotateSecret(THREE, NOW, timedelta()), CREATED, ROTATED)]
    assert when(RetireSecrets(NOW), *given) == [WebhookSecretRetired((ONE, TWO))]


def test_rotating_again_keeps_the_oldest_secret_to_its_own_end() -> None:
    later = NOW + timedelta(hours=1)
    given = [CREATED, ROTATED, *when(RotateSecret(THREE, later, DAY), CREATED, ROTATED)]
    assert when(RetireSecrets(NOW + DAY), *given) == [WebhookSecretRetired((ONE,))]


def test_so_many_secrets_may_overlap_and_no_more() -> None:
    given: list[WebhookEvent] = [CREATED]
    for number in range(MAX_OLD_SECRETS):
        given += when(RotateSecret(SealedRef(f"s{number}", ""), NOW, DAY), *given)
    assert refused(RotateSecret(TWO, NOW, DAY), *given) == "conflict"
    assert when(RotateSecret(TWO, NOW, timedelta()), *given)
    assert when(RotateSecret(TWO, NOW + DAY, DAY), *given)


@pytest.mark.parametrize("overlap", [timedelta(seconds=-1), timedelta(days=7, seconds=1)])
def test_an_overlap_is_between_nothing_and_a_week(overlap: timedelta) -> None:
    assert refused(RotateSecret(TWO, NOW, overlap), CREATED) == "invalid_request"


def test_nothing_follows_a_deletion() -> None:
    assert when(Delete(), CREATED, ROTATED) == [DELETED]
    for command in (
        Update(enabled=False),
        RotateSecret(TWO, NOW, DAY),
        RetireSecrets(NOW),
        Disable("gone"),
        Delete(),
    ):
        assert refused(command, CREATED, DELETED) == "not_found"


REFS = st.builds(SealedRef, st.uuids().map(str), st.just("d"))
MOMENTS = st.integers(0, 30).map(lambda hours: NOW + timedelta(hours=hours))
COMMANDS: st.SearchStrategy[WebhookCommand] = st.one_of(
    st.builds(Create, st.just(URL), st.just(("*",)), st.text(max_size=3), REFS),
    st.builds(
        Update, st.none() | st.just(URL), st.none(), st.none() | st.text(max_size=3), st.none() | st.booleans()
    ),
    st.builds(RotateSecret, REFS, MOMENTS, st.integers(0, 48).map(lambda hours: timedelta(hours=hours))),
    st.builds(RetireSecrets, MOMENTS),
    st.builds(Disable, st.just("gone")),
    st.just(Delete()),
)


def carried_out(commands: Sequence[WebhookCommand]) -> list[tuple[WebhookCommand, list[WebhookEvent], Webhook]]:
    """Each command with its events and the state behind it; refused ones have no events."""
    steps, state = [], Webhook()
    for command in commands:
        try:
            events = list(WEBHOOK.decide(command, state))
        except KtError:
            events = []
        for event in events:
            state = WEBHOOK.evolve(state, event)
        steps.append((command, events, state))
    return steps


@given(st.lists(COMMANDS, max_size=25))
def test_a_command_leads_to_one_event_at_most_and_deciding_it_again_changes_nothing(
    commands: list[WebhookCommand],
) -> None:
    for command, events, state in carried_out(commands):
        assert len(events) <= 1
        if isinstance(command, (Update, RetireSecrets, Disable)) and events:
            assert list(WEBHOOK.decide(command, state)) == []


@given(st.lists(COMMANDS, max_size=25))
def test_every_sealed_secret_is_in_force_retired_or_gone_with_its_webhook(commands: list[WebhookCommand]) -> None:
    sealed: set[str] = set()
    retired: set[str] = set()
    for _, events, state in carried_out(commands):
        for event in events:
            if isinstance(event, (WebhookCreated, WebhookSecretRotated)):
                sealed.add(event.sealed.id)
            if isinstance(event, WebhookSecretRetired):
                assert state.secret not in event.retired, "the current secret is never retired"
                retired |= {ref.id for ref in event.retired}
            if isinstance(event, WebhookDeleted):
                sealed, retired = set(), set()
        held = {ref.id for ref in (state.secret, *(old.sealed for old in state.old_secrets)) if ref}
        assert held == sealed - retired


@given(st.lists(COMMANDS, max_size=25))
def test_an_old_secret_is_retired_only_when_its_overlap_is_over(commands: list[WebhookCommand]) -> None:
    steps = [(None, [], Webhook()), *carried_out(commands)]
    for (_, _, before), (command, events, _) in itertools.pairwise(steps):
        for event in events:
            if isinstance(event, WebhookSecretRetired):
                assert isinstance(command, RetireSecrets)
                untils = {old.sealed: old.until for old in before.old_secrets}
                assert all(untils[ref] <= rfc3339(command.now) for ref in event.retired)

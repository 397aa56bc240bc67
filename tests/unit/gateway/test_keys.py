"""What the gateway holds for a reference, whatever order answers come in."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.errors import KtError
from libs.common.secret import Secret
from services.gateway.domain.client_auth import checked_client_key
from services.gateway.domain.config import Target
from services.gateway.domain.header_value import header_problem
from services.gateway.domain.keys import HeldKey, evolve
from services.gateway.domain.providers import PROVIDERS
from services.gateway.domain.references import (
    DEFINITE,
    EXPLANATION,
    Reason,
    Reference,
    ReferenceKind,
    Resolution,
    Resolved,
    Unresolved,
)
from services.gateway.domain.status import TargetState, TargetStatus
from services.gateway.domain.upstreams import parse_base_url

KEY = Reference(ReferenceKind.STORE, "KEY")
NOW = datetime(2026, 11, 23, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)


def resolved(version: int, value: str = "") -> Resolved:
    return Resolved(KEY, Secret.from_text(value or f"key-{version}"), version, version)


def held(version: int = 1) -> HeldKey:
    return evolve(None, resolved(version), NOW)


def value_of(key: HeldKey) -> str | None:
    return key.value.reveal().decode() if key.value is not None else None


def test_given_nothing_when_resolved_then_the_key_is_held_since_now() -> None:
    key = held()
    assert (value_of(key), key.version, key.since, key.stale, key.reason) == ("key-1", 1, NOW, False, None)


def test_given_a_key_when_a_newer_version_comes_then_it_replaces_it() -> None:
    key = evolve(held(1), resolved(2), LATER)
    assert (value_of(key), key.version, key.since) == ("key-2", 2, LATER)


def test_given_a_key_when_an_older_answer_comes_late_then_nothing_changes() -> None:
    assert evolve(held(2), resolved(1), LATER) == held(2)
    assert evolve(held(2), Unresolved(KEY, Reason.DELETED, sequence=1), LATER) == held(2)


def test_given_a_key_when_the_value_of_an_older_row_comes_late_then_nothing_changes() -> None:
    assert evolve(held(1), Resolved(KEY, Secret.from_text("of the row"), 0, 0), LATER) == held(1)


def test_given_the_value_of_an_older_row_when_it_is_taken_over_then_the_version_replaces_it() -> None:
    row = evolve(None, Resolved(KEY, Secret.from_text("key-1"), 0, 0), NOW)
    key = evolve(row, resolved(1), LATER)
    assert (value_of(row), row.version, value_of(key), key.version) == ("key-1", 0, "key-1", 1)


def test_given_a_key_when_the_same_version_comes_again_then_since_stays() -> None:
    key = held()
    again = evolve(key, resolved(1), LATER)
    assert (again.since, again.value is key.value) == (NOW, True)


@pytest.mark.parametrize("reason", sorted(DEFINITE))
def test_given_a_key_when_its_absence_is_certain_then_it_is_withdrawn(reason: Reason) -> None:
    key = evolve(held(), Unresolved(KEY, reason), LATER)
    assert (key.value, key.reason, key.since, key.stale) == (None, reason, LATER, False)


@pytest.mark.parametrize("reason", sorted(set(Reason) - DEFINITE))
def test_given_a_key_when_a_fault_stands_between_then_it_stays_in_use_and_is_stale(reason: Reason) -> None:
    key = evolve(held(), Unresolved(KEY, reason), LATER)
    assert (value_of(key), key.reason, key.since, key.stale) == ("key-1", reason, NOW, True)
    fresh = evolve(key, resolved(1), LATER)
    assert (fresh.stale, fresh.reason) == (False, None)


def test_given_a_withdrawn_key_when_the_system_is_away_then_it_stays_withdrawn() -> None:
    key = evolve(evolve(held(), Unresolved(KEY, Reason.DELETED), NOW), Unresolved(KEY, Reason.UNREACHABLE), LATER)
    assert (key.value, key.stale) == (None, False)


def test_given_a_key_when_the_new_value_can_not_be_a_header_then_the_old_one_stays() -> None:
    key = evolve(held(), resolved(2, "line\nbreak"), LATER)
    assert (value_of(key), key.version, key.reason) == ("key-1", 1, Reason.UNUSABLE_VALUE)


_ANSWERS = st.one_of(
    st.integers(1, 9).map(resolved),
    st.builds(lambda reason, sequence: Unresolved(KEY, reason, sequence), st.sampled_from(Reason), st.integers(0, 9)),
)


@given(st.lists(_ANSWERS, max_size=12))
def test_whatever_comes_the_sequence_never_goes_back_and_a_value_is_always_usable(answers: list[Resolution]) -> None:
    key: HeldKey | None = None
    for answer in answers:
        before, key = key, evolve(key, answer, NOW)
        assert before is None or key.sequence >= before.sequence
        assert key.value is None or not header_problem(key.value)
        assert not (key.value is None and key.stale)
        assert key.value is not None or key.reason is not None


@given(st.lists(st.integers(1, 9), min_size=1, max_size=9))
def test_in_any_order_the_newest_version_wins(versions: list[int]) -> None:
    key: HeldKey | None = None
    for version in versions:
        key = evolve(key, resolved(version), NOW)
    assert key is not None
    assert key.version == max(versions)


@given(st.binary(min_size=1, max_size=30))
def test_a_value_without_a_problem_is_printable_ascii_on_one_line(raw: bytes) -> None:
    fits = all(0x20 <= byte <= 0x7E for byte in raw) and raw == raw.strip()
    assert (header_problem(Secret(raw)) == "") == fits


def test_every_reason_has_an_explanation() -> None:
    assert set(EXPLANATION) == set(Reason)


@pytest.mark.parametrize(
    ("key", "acknowledged", "state"),
    [
        (held(), True, TargetState.SERVING),
        (held(), False, TargetState.PENDING),
        (evolve(held(), Unresolved(KEY, Reason.DELETED), NOW), True, TargetState.WITHDRAWN),
    ],
)
def test_a_status_tells_the_state_and_never_the_value(key: HeldKey, acknowledged: bool, state: TargetState) -> None:
    target = Target("t1", PROVIDERS["openai"], ("m",), parse_base_url("https://example.com"), KEY)
    document = TargetStatus(target, key, acknowledged).as_document()
    assert document["state"] == state
    assert "key-1" not in str(document)
    assert document["since"] == "2026-11-23T00:00:00.000000Z"


def test_a_client_key_has_a_least_length_and_is_not_repeated() -> None:
    assert checked_client_key(Secret(b"0123456789abcdef")).key == Secret(b"0123456789abcdef")
    for bad in (b"0123456789abcde", b"0123456789abcdef\n", b"0123456789 abcdef "):
        with pytest.raises(KtError) as error:
            checked_client_key(Secret(bad))
        assert error.value.code == "misconfigured"
        assert bad.decode() not in str(error.value)

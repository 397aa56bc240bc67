"""What follows from an attempt."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.webhooks.domain.schedule import (
    MAX_ATTEMPTS,
    MAX_RETRY_AFTER,
    Delivered,
    Failed,
    Response,
    Retried,
    next_step,
    retry_after,
)

NOW = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_an_answer_from_200_to_299_is_a_delivery(status: int) -> None:
    assert next_step(1, Response(status), NOW, 0.0) == Delivered()


@pytest.mark.parametrize("status", [100, 301, 302, 307, 400, 401, 404, 409, 418, 500, 502, 504])
def test_any_other_is_tried_again_after_five_seconds(status: int) -> None:
    assert next_step(1, Response(status), NOW, 0.0) == Retried(NOW + timedelta(seconds=5), "rejected")


def test_no_answer_is_tried_again_with_its_reason() -> None:
    assert next_step(1, Response(reason="timeout"), NOW, 0.0) == Retried(NOW + timedelta(seconds=5), "timeout")


def test_an_address_that_is_gone_is_not_tried_again() -> None:
    assert next_step(1, Response(410), NOW, 0.0) == Failed("gone")


def test_the_schedule_is_that_of_standard_webhooks() -> None:
    since, found = NOW, []
    for attempt in range(1, MAX_ATTEMPTS):
        step = next_step(attempt, Response(500), since, 0.0)
        assert isinstance(step, Retried)
        since = step.due
        found.append(since - NOW)
    hours = [
        (0, 0, 5),
        (0, 5, 5),
        (0, 35, 5),
        (2, 35, 5),
        (7, 35, 5),
        (17, 35, 5),
        (31, 35, 5),
        (51, 35, 5),
        (75, 35, 5),
    ]
    assert found == [timedelta(hours=h, minutes=m, seconds=s) for h, m, s in hours]
    assert next_step(MAX_ATTEMPTS, Response(500), since, 0.0) == Failed("rejected")


@given(st.integers(1, MAX_ATTEMPTS - 1), st.floats(0, 1))
def test_jitter_makes_a_pause_longer_by_a_fifth_at_most_and_never_shorter(attempts: int, jitter: float) -> None:
    plain, moved = (next_step(attempts, Response(500), NOW, j) for j in (0.0, jitter))
    assert isinstance(plain, Retried)
    assert isinstance(moved, Retried)
    assert plain.due - NOW <= moved.due - NOW <= (plain.due - NOW) * 1.2


@pytest.mark.parametrize("status", [429, 503])
def test_a_throttled_delivery_waits_as_long_as_it_was_asked_to_and_holds_the_others(status: int) -> None:
    asked = timedelta(minutes=2)
    step = next_step(1, Response(status, retry_after=asked), NOW, 0.0)
    assert step == Retried(NOW + asked, "rejected", hold=NOW + asked)
    short = next_step(3, Response(status, retry_after=asked), NOW, 0.0)
    assert short == Retried(NOW + timedelta(minutes=30), "rejected", hold=NOW + asked), "no sooner than its own pause"
    assert next_step(1, Response(500, retry_after=asked), NOW, 0.0) == Retried(NOW + timedelta(seconds=5), "rejected")


def test_nobody_holds_deliveries_for_more_than_an_hour() -> None:
    step = next_step(1, Response(503, retry_after=timedelta(days=365)), NOW, 0.0)
    assert step == Retried(NOW + MAX_RETRY_AFTER, "rejected", hold=NOW + MAX_RETRY_AFTER)


@pytest.mark.parametrize(
    ("header", "asked"),
    [
        (None, None),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("1.5", None),
        ("0", timedelta()),
        ("120", timedelta(minutes=2)),
        (" 120 ", timedelta(minutes=2)),
        ("9" * 400, MAX_RETRY_AFTER),
        ("Mon, 23 Nov 2026 08:02:00 GMT", timedelta(minutes=2)),
        ("Mon, 23 Nov 2026 07:00:00 GMT", timedelta()),
        ("Fri, 31 Dec 9999 23:59:59 GMT", MAX_RETRY_AFTER),
        ("Mon, 99 Nov 2026 08:02:00 GMT", None),
    ],
)
def test_retry_after_is_read_in_seconds_and_as_a_date(header: str | None, asked: timedelta | None) -> None:
    assert retry_after(header, NOW) == asked


@given(st.text(max_size=40))
def test_any_text_can_stand_there(header: str) -> None:
    found = retry_after(header, NOW)
    assert found is None or timedelta() <= found <= MAX_RETRY_AFTER

"""The audit log as something that is kept, given by events, when a command comes."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.calendar import Month, Span
from libs.common.errors import KtError
from libs.common.events.audit_log import (
    AuditLogEvent,
    HoldAdded,
    HoldRemoved,
    LogRebuilt,
    ReproducedTree,
    RetentionApplied,
    RetentionSet,
    RetiredRange,
)
from services.command.domain.audit_log import (
    AUDIT_LOG,
    AddHold,
    ApplyRetention,
    AuditLogCommand,
    RecordRebuild,
    RemoveHold,
    SetRetention,
)

WENT = (RetiredRange("KT_EVENTS", 1, 10, 10, 99, "ab"),)
SPRING = HoldAdded("case", "2026-03-01T00:00:00.000000Z", "2026-06-01T00:00:00.000000Z", "inquiry")
OPEN = HoldAdded("case", "2026-03-01T00:00:00.000000Z", "", "inquiry")


def when(given_: Sequence[AuditLogEvent], command: AuditLogCommand) -> Sequence[AuditLogEvent]:
    return AUDIT_LOG.decide(command, AUDIT_LOG.fold(given_))


def refused(given_: Sequence[AuditLogEvent], command: AuditLogCommand) -> str:
    with pytest.raises(KtError) as caught:
        when(given_, command)
    return caught.value.code


def day(text: str) -> datetime:
    return datetime.fromisoformat(f"{text}T00:00:00+00:00")


def applying(period: str, days: int = 366) -> ApplyRetention:
    return ApplyRetention(period, days, WENT, "")


def test_the_retention_can_be_lengthened() -> None:
    assert when([], SetRetention(730, understood=False)) == [RetentionSet(730)]
    assert when([RetentionSet(730)], SetRetention(730, understood=False)) == []


def test_the_default_is_a_year_that_may_be_a_leap_year() -> None:
    assert when([], SetRetention(366, understood=False)) == []
    assert when([], SetRetention(365, understood=False)) == [RetentionSet(365)]


def test_less_than_a_year_has_to_be_meant() -> None:
    assert refused([], SetRetention(364, understood=False)) == "invalid_request"
    assert when([], SetRetention(364, understood=True)) == [RetentionSet(364)]


@pytest.mark.parametrize("days", [0, -1, 36_501])
def test_a_retention_out_of_range_is_refused_even_when_it_is_meant(days: int) -> None:
    assert refused([], SetRetention(days, understood=True)) == "invalid_request"


def test_a_hold_is_added_and_removed() -> None:
    add = AddHold("case", day("2026-03-01"), day("2026-06-01"), "inquiry")
    assert when([], add) == [SPRING]
    assert when([SPRING], RemoveHold("case", "closed")) == [HoldRemoved("case", "closed")]
    assert refused([SPRING], add) == "already_exists"
    assert when([SPRING, HoldRemoved("case", "closed")], add) == [SPRING]
    assert refused([], RemoveHold("case", "closed")) == "not_found"


def test_a_hold_without_an_end() -> None:
    assert when([], AddHold("case", day("2026-03-01"), None, "inquiry")) == [OPEN]


def test_a_hold_that_ends_before_it_begins_is_refused() -> None:
    assert refused([], AddHold("case", day("2026-03-01"), day("2026-03-01"), "")) == "invalid_request"


def test_a_month_goes_once() -> None:
    went = RetentionApplied("2025-01", 366, WENT, "")
    assert when([], applying("2025-01")) == [went]
    assert when([went], applying("2025-01")) == []


@pytest.mark.parametrize("period", ["2026-03", "2026-04", "2026-05"])
def test_a_month_that_is_held_stays(period: str) -> None:
    assert refused([SPRING], applying(period)) == "conflict"
    assert when([SPRING, HoldRemoved("case", "")], applying(period))


@pytest.mark.parametrize("period", ["2026-02", "2026-06"])
def test_a_hold_says_nothing_of_other_months(period: str) -> None:
    assert when([SPRING], applying(period))


def test_a_hold_without_an_end_keeps_every_later_month() -> None:
    assert refused([OPEN], applying("2031-12")) == "conflict"
    assert when([OPEN], applying("2026-02"))


def test_what_was_lengthened_at_the_last_moment_counts() -> None:
    assert refused([RetentionSet(730)], applying("2025-01", 366)) == "conflict"
    assert when([RetentionSet(730)], applying("2025-01", 731))


def test_a_month_is_a_calendar_month() -> None:
    assert Month.parse("2025-12").span == Span(day("2025-12-01"), day("2026-01-01"))


_MOMENTS = st.integers(0, 1000).map(lambda days: datetime(2025, 1, 1, tzinfo=UTC) + timedelta(days=days))


@given(_MOMENTS, st.none() | _MOMENTS, _MOMENTS, st.none() | _MOMENTS)
def test_spans_overlap_when_they_share_a_moment(
    begins: datetime, ends: datetime | None, other_begins: datetime, other_ends: datetime | None
) -> None:
    one, other = Span(begins, ends), Span(other_begins, other_ends)
    never = datetime.max.replace(tzinfo=UTC)
    shared = max(begins, other_begins) < min(ends or never, other_ends or never)
    assert one.overlaps(other) == other.overlaps(one)
    if begins < (ends or never) and other_begins < (other_ends or never):
        assert one.overlaps(other) == shared


def test_a_rebuild_is_recorded_as_it_was() -> None:
    trees = (ReproducedTree("KT_EVENTS", 9, "c5" * 32),)
    assert when([SPRING], RecordRebuild("admin/alice", 12, trees)) == [LogRebuilt("admin/alice", 12, trees)]
    assert AUDIT_LOG.fold([SPRING, LogRebuilt("admin/alice", 12, trees)]) == AUDIT_LOG.fold([SPRING])

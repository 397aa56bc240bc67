"""Three records of the same events: which one is wrong, where, and what was done to it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.transparency.merkle import UNSEEN_LEAF
from services.audit.domain.examination import Finding, Kind, MessageSeen, RowSeen, Seen, Side, examine


def hash_of(sequence: int) -> bytes:
    return sequence.to_bytes(32, "big")


def whole(size: int = 10, **changes: Any) -> Seen:
    numbers = range(1, size + 1)
    seen = Seen(
        first=1,
        last=size,
        size=size,
        signed=size,
        minimum=0,
        stream_first=1,
        stream_last=size,
        expires=False,
        leaves={n: hash_of(n) for n in numbers},
        rows={n: (RowSeen(hash_of(n), columns_hold=True, recorded_us=n),) for n in numbers},
        messages={n: MessageSeen(hash_of(n), n) for n in numbers},
    )
    return replace(seen, **changes)


def row(content: int, at: int) -> tuple[RowSeen, ...]:
    return (RowSeen(hash_of(content), columns_hold=True, recorded_us=at),)


def test_what_agrees_has_no_findings() -> None:
    assert examine(whole()) == []


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"rows": {4: row(99, 4)}}, Finding(Kind.ROW_CHANGED, 4, 4)),
        ({"rows": {4: row(5, 4)}}, Finding(Kind.ROW_MOVED, 4, 4, of=5)),
        ({"rows": {4: ()}}, Finding(Kind.ROW_MISSING, 4, 4)),
        ({"rows": {4: row(4, 4) * 2}}, Finding(Kind.ROW_DUPLICATED, 4, 4)),
        (
            {"rows": {4: (RowSeen(hash_of(4), columns_hold=False, recorded_us=4),)}},
            Finding(Kind.COLUMNS_CHANGED, 4, 4),
        ),
        ({"messages": {4: MessageSeen(hash_of(99), 4)}}, Finding(Kind.MESSAGE_CHANGED, 4, 4)),
        ({"messages": {4: MessageSeen(hash_of(99), 5)}}, Finding(Kind.SEQUENCE_REUSED, 4, 4)),
        ({"messages": {4: MessageSeen(hash_of(7), 4)}}, Finding(Kind.MESSAGE_MOVED, 4, 4, of=7)),
        ({"messages": {4: None}}, Finding(Kind.MESSAGE_MISSING, 4, 4)),
        ({"leaves": {4: None}}, Finding(Kind.TREE_CHANGED, 4, 4)),
    ],
)
def test_one_change_is_one_finding(change: dict[str, dict[int, Any]], expected: Finding) -> None:
    ((name, different),) = change.items()
    before = getattr(whole(), name)
    after = {n: value for n, value in {**before, **different}.items() if value is not None}
    assert examine(whole(10, **{name: after})) == [expected]


def test_neighbours_are_one_finding() -> None:
    rows = {n: row(n, n) for n in range(1, 11) if n not in (3, 4, 5)}
    assert examine(whole(rows=rows)) == [Finding(Kind.ROW_MISSING, 3, 5)]


def test_a_stream_that_ends_early_is_shortened_and_one_that_begins_late_has_expired_or_lost_something() -> None:
    assert examine(whole(stream_last=8)) == [Finding(Kind.STREAM_SHORTENED, 9, 10)]
    late = {n: MessageSeen(hash_of(n), n) for n in range(4, 11)}
    assert examine(whole(stream_first=4, messages=late)) == [Finding(Kind.MESSAGE_MISSING, 1, 3)]
    assert examine(whole(stream_first=4, messages=late, expires=True)) == []


def test_behind_the_tree_there_is_no_row() -> None:
    seen = whole()
    assert examine(replace(seen, last=11, rows={**seen.rows, 11: row(11, 11)})) == [Finding(Kind.ROW_ADDED, 11, 11)]


def test_in_months_that_went_rows_may_be_gone_and_nowhere_else() -> None:
    rows = {n: rows_ for n, rows_ in whole().rows.items() if n not in (2, 3, 4)}
    assert examine(whole(rows=rows, retired=[(2, 3)])) == [Finding(Kind.ROW_MISSING, 4, 4)]
    assert examine(whole(rows=rows, retired=[(1, 1), (2, 4)])) == []


def test_below_the_minimum_rows_may_be_gone() -> None:
    rows = {n: row(n, n) for n in range(5, 11)}
    assert examine(whole(rows=rows, minimum=4)) == []
    assert examine(whole(rows=rows, minimum=3)) == [Finding(Kind.ROW_MISSING, 4, 4)]


def test_what_was_never_seen_has_no_row() -> None:
    seen = whole(expires=True, stream_first=3)
    leaves = {**seen.leaves, 1: UNSEEN_LEAF, 2: UNSEEN_LEAF}
    rows = {n: held for n, held in seen.rows.items() if n > 2}
    assert examine(replace(seen, leaves=leaves, rows=rows)) == []
    assert examine(replace(seen, leaves=leaves, rows={**rows, 2: row(2, 2)})) == [Finding(Kind.ROW_ADDED, 2, 2)]


def test_where_nothing_was_signed_a_row_and_a_message_that_agree_are_right() -> None:
    seen = whole(signed=3)
    assert examine(replace(seen, leaves={**seen.leaves, 7: hash_of(70)})) == [Finding(Kind.TREE_CHANGED, 7, 7)]
    both = examine(replace(seen, leaves={**seen.leaves, 2: hash_of(70)}))
    assert [f.kind for f in both] == [Kind.ROW_CHANGED, Kind.MESSAGE_CHANGED]


def test_without_leaf_and_agreement_nothing_decides() -> None:
    leaves = {n: hash_of(n) for n in range(1, 11) if n != 6}
    seen = whole(leaves=leaves)
    found = examine(replace(seen, rows={**seen.rows, 6: row(66, 6)}))
    assert [(f.kind, f.first) for f in found] == [(Kind.TREE_CHANGED, 6), (Kind.UNDECIDED, 6)]


@given(st.dictionaries(st.integers(1, 10), st.integers(11, 99), min_size=1))
def test_whatever_rows_are_changed_the_log_is_the_side_that_is_named(changed: dict[int, int]) -> None:
    seen = whole()
    found = examine(replace(seen, rows={**seen.rows, **{n: row(other, n) for n, other in changed.items()}}))
    assert {n for f in found for n in range(f.first, f.last + 1)} == set(changed)
    assert {f.kind.side for f in found} == {Side.LOG}

"""A page is bounded in entries and in bytes, and never empty when there is something."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from services.audit.domain.page import EntryKey, ListedEntry, within_bytes

sizes = st.lists(st.integers(0, 50), max_size=12)


def entries(lengths: list[int]) -> list[ListedEntry]:
    key = EntryKey(datetime(2026, 11, 23, tzinfo=UTC), 1, 1)
    return [ListedEntry(key, "t", b"x" * length) for length in lengths]


@given(sizes, st.integers(1, 12), st.integers(1, 100))
def test_a_page_is_the_longest_beginning_that_fits(lengths: list[int], limit: int, max_bytes: int) -> None:
    page = within_bytes(entries(lengths), limit, max_bytes)
    count = len(page.entries)
    assert [len(entry.body) for entry in page.entries] == lengths[:count]
    assert page.more == (count < len(lengths))
    assert count <= limit
    assert count <= 1 or sum(lengths[:count]) <= max_bytes
    if page.more:
        assert count == limit or sum(lengths[: count + 1]) > max_bytes
        assert count >= 1

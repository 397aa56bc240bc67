"""Cursors: they lead back to their place, in their own listing only."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.errors import KtError
from services.audit.domain import cursor
from services.audit.domain.page import EntryKey

SCOPE = ("acme", "category=a")
KEY = EntryKey(datetime(2026, 11, 23, 7, 39, 3, 192164, UTC), 2, 17)
keys = st.builds(EntryKey, st.datetimes(timezones=st.just(UTC)), st.sampled_from((1, 2)), st.integers(1, 2**62))


def refused(text: str, org: str = "acme", filter_text: str = "category=a") -> None:
    for read in (cursor.read_older_than, cursor.read_newer_than):
        with pytest.raises(KtError) as caught:
            read(text, org, filter_text)
        assert caught.value.code == "invalid_cursor"
        assert len(text) < 20 or text not in str(caught.value)


@given(keys, st.text(max_size=30))
def test_a_listing_goes_on_at_the_entry_it_left(key: EntryKey, filter_text: str) -> None:
    assert cursor.read_older_than(cursor.older_than(key, "acme", filter_text), "acme", filter_text) == key


@given(st.fixed_dictionaries({1: st.integers(0, 2**62), 2: st.integers(0, 2**62)}))
def test_following_goes_on_behind_the_sequences_it_saw(positions: dict[int, int]) -> None:
    assert cursor.read_newer_than(cursor.newer_than(positions, *SCOPE), *SCOPE) == positions


@pytest.mark.parametrize(
    ("org", "filter_text"), [("other", "category=a"), ("acme", "category=b"), ("acm", "ecategory=a")]
)
def test_the_cursor_of_another_org_or_filter_is_refused(org: str, filter_text: str) -> None:
    refused(cursor.older_than(KEY, *SCOPE), org, filter_text)
    refused(cursor.newer_than({1: 3, 2: 4}, *SCOPE), org, filter_text)


def test_a_cursor_for_listing_is_none_for_following_and_the_other_way_round() -> None:
    with pytest.raises(KtError):
        cursor.read_newer_than(cursor.older_than(KEY, *SCOPE), *SCOPE)
    with pytest.raises(KtError):
        cursor.read_older_than(cursor.newer_than({1: 3, 2: 4}, *SCOPE), *SCOPE)


@given(st.data())
def test_a_cursor_with_any_other_character_is_refused(data: st.DataObject) -> None:
    whole = data.draw(st.sampled_from((cursor.older_than(KEY, *SCOPE), cursor.newer_than({1: 3, 2: 4}, *SCOPE))))
    at = data.draw(st.integers(0, len(whole) - 1))
    character = data.draw(st.characters(max_codepoint=0x17F).filter(lambda c: c != whole[at]))
    refused(whole[:at] + character + whole[at + 1 :])


@given(st.text(max_size=80) | st.text(st.sampled_from("ABCabc019-_="), max_size=80))
def test_anything_else_is_refused(text: str) -> None:
    refused(text)


def test_a_cursor_with_more_behind_it_is_refused() -> None:
    for tail in ("A", "==", "\n", " "):
        refused(cursor.older_than(KEY, *SCOPE) + tail)

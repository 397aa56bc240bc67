"""Filters as Hypothesis draws them, and what they mean, written a second time for comparison."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from operator import ge, gt, le, lt
from typing import Any

from hypothesis import strategies as st

from services.audit.domain.filter import Field, Filter, Match, Term, TimeBound, TimeOperator

SIDES: dict[TimeOperator, Callable[[Any, Any], bool]] = {
    TimeOperator.AT_LEAST: ge,
    TimeOperator.AFTER: gt,
    TimeOperator.AT_MOST: le,
    TimeOperator.BEFORE: lt,
}


@dataclass(frozen=True, slots=True)
class Searchable:
    recorded_at: datetime
    fields: dict[Field, str]


def holds(filter_: Filter, entry: Searchable) -> bool:
    return all(_holds(term, entry) for term in filter_.terms)


def _holds(term: Term, entry: Searchable) -> bool:
    if isinstance(term, TimeBound):
        return SIDES[term.operator](entry.recorded_at, term.moment)
    found = entry.fields[term.field]
    matched = found.startswith(term.value) if term.prefix else found == term.value
    return matched is not term.negated


texts = st.text(st.characters(exclude_categories=("Cc", "Cs")), max_size=12)
moments = st.datetimes(timezones=st.just(UTC))


def matches(values: st.SearchStrategy[str] = texts) -> st.SearchStrategy[Match]:
    exact = st.builds(Match, st.sampled_from(Field), values, st.just(False), st.booleans())
    begins = st.builds(Match, st.sampled_from(Field), values.filter(bool), st.just(True), st.booleans())
    return exact | begins


def bounds(times: st.SearchStrategy[datetime] = moments) -> st.SearchStrategy[TimeBound]:
    return st.builds(TimeBound, st.sampled_from(TimeOperator), times)


def filters(
    values: st.SearchStrategy[str] = texts, times: st.SearchStrategy[datetime] = moments, max_terms: int = 5
) -> st.SearchStrategy[Filter]:
    terms = st.lists(matches(values) | bounds(times), max_size=max_terms)
    return st.builds(lambda found: Filter(tuple(found)), terms)

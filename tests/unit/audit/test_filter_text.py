"""The filter language: what can be written can be read, and what can't be read is refused at its place."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.errors import KtError
from services.audit.domain.filter import Field, Filter, Match, TimeBound, TimeOperator
from services.audit.domain.filter_text import parse, render
from tests.unit.audit.filters import filters

REFERENCE = (Path(__file__).parents[3] / "docs/reference/event-filter.md").read_text(encoding="utf-8")


def block(name: str) -> list[str]:
    found = re.search(rf"^```{name}\n(.*?)^```", REFERENCE, re.MULTILINE | re.DOTALL)
    assert found is not None
    return found[1].splitlines()


def refusal(text: str) -> KtError:
    with pytest.raises(KtError) as caught:
        parse(text)
    assert caught.value.code == "invalid_filter"
    return caught.value


def outcome(text: str) -> bool:
    """True when the text is read, or refused as it should be."""
    try:
        parse(text)
    except KtError as error:
        return error.code == "invalid_filter" and 1 <= error.extra["position"] <= len(text) + 1
    return True


@given(filters())
def test_a_filter_that_is_written_is_read_as_the_same(filter_: Filter) -> None:
    assert parse(render(filter_)) == filter_


@given(st.text() | st.text(st.sampled_from('time=!<>"\\* aAND-:.,TZ2026')) | st.text(st.characters(), min_size=4080))
def test_whatever_is_written_is_read_or_refused_with_a_position_in_it(text: str) -> None:
    assert outcome(text)


@given(filters(), st.data())
def test_a_damaged_filter_never_crashes_the_reader(filter_: Filter, data: st.DataObject) -> None:
    text = render(filter_)
    cut = data.draw(st.integers(0, len(text)))
    assert outcome(text[:cut] + data.draw(st.text(max_size=3)) + text[cut:])


@pytest.mark.parametrize("example", block("filter"))
def test_every_example_of_the_reference_is_read(example: str) -> None:
    assert parse(example).terms


@pytest.mark.parametrize("line", block("mistakes"))
def test_every_mistake_of_the_reference_is_refused_at_the_character_it_says(line: str) -> None:
    position, text = line.split(maxsplit=1)
    error = refusal(text)
    assert error.extra["position"] == int(position)
    assert f"character {position}:" in error.detail


def test_the_reference_names_every_field_and_alias() -> None:
    table = REFERENCE[REFERENCE.index("## Fields") : REFERENCE.index("## Values")]
    rows = re.findall(r"^\| (`\w+` \| [^|]*)\|", table, re.MULTILINE)
    documented = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    assert documented == {"time", *Field, "resource_id", "result", "request"}


def test_terms_are_read_with_their_meaning() -> None:
    found = parse(
        'Category = a and RESOURCE!=OPENAI_* AND request="x \\"y\\" \\\\" AND time<2026-11-23T01:30:00.5+01:00'
    )
    assert found == Filter(
        (
            Match(Field.CATEGORY, "a"),
            Match(Field.RESOURCE, "OPENAI_", prefix=True, negated=True),
            Match(Field.CORRELATION, 'x "y" \\'),
            TimeBound(TimeOperator.BEFORE, datetime(2026, 11, 23, 0, 30, 0, 500_000, UTC)),
        )
    )


@pytest.mark.parametrize("text", ["", "   ", "\n"])
def test_an_empty_filter_means_everything(text: str) -> None:
    assert parse(text) == Filter()


@pytest.mark.parametrize(
    "moment",
    [
        "2026-02-30",
        "2026-13-01",
        "2025-02-29",
        "0000-01-01",
        "2026-11-23T24:00:00Z",
        "2026-11-23T23:59:60Z",
        "0001-01-01T00:00:00+01:00",
        "2026-11-23T00:00:00+99:00",
    ],
)
def test_times_that_do_not_exist_are_refused(moment: str) -> None:
    assert refusal(f"time>={moment}").extra["position"] == 7


@pytest.mark.parametrize("value", ["a\0b", "a\x07b", '"a\nb"', "a\ud800b"])
def test_what_can_not_be_stored_can_not_be_searched_for(value: str) -> None:
    assert "control characters" in refusal(f"actor={value}").detail


def test_a_refusal_says_what_was_expected_and_repeats_nothing() -> None:
    error = refusal("actor=sk-proj-abcdefghijklmnopqrstuvwxyz oops")
    assert "sk-proj" not in f"{error}{error.as_wire()}"
    assert "oops" not in f"{error}{error.as_wire()}"
    assert error.fields[0].expected == "AND, or the end of the filter"


def test_length_and_number_of_comparisons_are_limited() -> None:
    assert len(parse(" AND ".join(["actor=a"] * 32)).terms) == 32
    assert "32 comparisons" in refusal(" AND ".join(["actor=a"] * 33)).detail
    assert refusal(f"actor={'a' * 4096}").extra["position"] == 4097


def test_spellings_of_one_filter_render_alike() -> None:
    assert render(parse('resource_id = "A" and result=failure')) == render(parse("resource=A AND outcome=failure"))

"""A figure's record: medians of rounds, and when a bound holds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.record import Bound, Record, alternating, percentile, rounded
from bench.report import table, write_lines

AT_LEAST_A_TENTH = Bound(0.1, "ratio", "at least")
AT_MOST_25 = Bound(25.0, "value", "at most")


def creates(*rounds: tuple[float, float], flaw: str = "") -> Record:
    return Record.of_rounds("creates", "creates/s", AT_LEAST_A_TENTH, rounds, flaw=flaw)


def test_the_ratio_is_the_median_of_the_ratios_of_the_rounds() -> None:
    record = creates((400, 4000), (100, 200), (450, 3000))

    assert (record.value, record.reference, record.ratio) == (400, 3000, 0.15)
    assert record.spread == (0.1, 0.5)


@pytest.mark.parametrize(
    ("bound", "value", "ratio", "holds"),
    [
        (AT_LEAST_A_TENTH, 1, 0.1, True),
        (AT_LEAST_A_TENTH, 1000, 0.099, False),
        (AT_MOST_25, 25.0, 900.0, True),
        (AT_MOST_25, 25.1, 0.0, False),
    ],
)
def test_a_bound_is_on_the_value_or_on_the_ratio(bound: Bound, value: float, ratio: float, holds: bool) -> None:
    assert bound.holds(value, ratio) is holds


def test_a_figure_with_a_flaw_does_not_hold_whatever_its_bound_says() -> None:
    assert creates((900, 1000)).holds
    assert not creates((900, 1000), flaw="3 creates were refused").holds


def test_rounds_take_turns_in_going_first() -> None:
    order: list[str] = []

    def measure(name: str) -> float:
        order.append(name)
        return 1.0

    alternating(3, lambda: measure("value"), lambda: measure("reference"))

    assert order == ["reference", "value", "value", "reference", "reference", "value"]


def test_the_99th_percentile_of_100_is_the_second_highest() -> None:
    assert percentile(range(1, 101), 99) == 99


@given(st.lists(st.floats(0, 1e9), min_size=1), st.integers(1, 100))
def test_a_percentile_is_one_of_the_values_and_bounds_its_share_of_them(values: list[float], percent: int) -> None:
    found = percentile(values, percent)

    assert found in values
    assert sum(value <= found for value in values) * 100 >= percent * len(values)


@pytest.mark.parametrize(("number", "shown"), [(0.123456, 0.1235), (12.3456, 12.35), (1234.56, 1235.0), (0.0, 0.0)])
def test_no_more_digits_are_shown_than_were_measured(number: float, shown: float) -> None:
    assert rounded(number) == shown


def test_programs_get_one_object_a_line_with_the_agreed_members(tmp_path: Path) -> None:
    path = tmp_path / "bench.jsonl"

    write_lines(path, [creates((400, 4000)), creates((100, 4000))])

    first, second = map(json.loads, path.read_text().splitlines())
    assert first == {
        "name": "creates",
        "value": 400.0,
        "unit": "creates/s",
        "reference": 4000.0,
        "ratio": 0.1,
        "bound": 0.1,
        "holds": True,
    }
    assert second["holds"] is False


def test_the_table_shows_the_bound_in_words_and_the_flaw_below() -> None:
    shown = table([creates((400, 4000)), creates((4000, 4000), flaw="3 creates were refused")])

    lines = shown.splitlines()
    assert lines[1].split()[-4:] == ["ratio", "≥", "0.1", "yes"]
    assert lines[2].endswith("NO")
    assert lines[-1] == "creates: 3 creates were refused"

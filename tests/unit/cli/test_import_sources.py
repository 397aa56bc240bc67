"""Files that are imported: what is read of them, and that no error repeats a value."""

from __future__ import annotations

import contextlib
import csv
import io
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.cli.importing.csv_rows import csv_rows
from libs.cli.importing.dotenv_rows import dotenv_rows
from libs.cli.importing.found import Found
from libs.cli.importing.source import Source
from libs.common.errors import KtError


def read(rows: Sequence[Found]) -> dict[str, str]:
    return {row.name: row.row.value.reveal().decode() for row in rows if row.row is not None}


def errors(rows: Sequence[Found]) -> list[tuple[str, str, str]]:
    return [(row.place, row.name, row.error.code) for row in rows if row.error is not None]


def test_csv_columns_stand_in_any_order_and_others_are_passed_over() -> None:
    text = 'Description,id,VALUE,sensitive,name\n"one, two",7,v1,no,A\n,8,"v""2",,B\n'
    rows = csv_rows(text, True)
    assert read(rows) == {"A": "v1", "B": 'v"2'}
    assert [(r.place, r.row.description, r.row.sensitive) for r in rows if r.row] == [
        ("line 2", "one, two", False),
        ("line 3", "", True),
    ]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_csv_delimiters_are_told_by_the_header(delimiter: str) -> None:
    text = f"name{delimiter}value\r\nA{delimiter}v1\r\n\r\nB{delimiter}v2\r\n"
    assert read(csv_rows(text, True)) == {"A": "v1", "B": "v2"}


def test_csv_values_may_have_several_lines_and_places_stay_true() -> None:
    rows = csv_rows('name,value\nPEM,"one\ntwo\n"\na/b,v\n', True)
    assert read(rows) == {"PEM": "one\ntwo\n"}
    assert errors(rows) == [("line 5", "-", "invalid_name")]


@pytest.mark.parametrize(
    "text", ["", "name\nA", "key,value\nA,v", "name,value,name\n", 'name,value\nA,"never closed']
)
def test_csv_that_can_not_be_read_as_a_whole_is_refused(text: str) -> None:
    with pytest.raises(KtError) as caught:
        csv_rows(text, True)
    assert caught.value.code == "usage"


def test_rows_that_can_not_be_imported_are_placed_and_never_quoted() -> None:
    secret = "canary-value-0123"
    text = (
        f"name,value,description\nA,,\nB,{secret},d,more\n{secret}/x,{secret},\nTWICE,{secret}1,\nTWICE,{secret}2,\n"
        f"C,{secret},has {secret}\nD,{'x' * 65_537},\nE,********,\nsk-proj-abcdefghijklmnop,v,\nF,{secret}\n"
    )
    rows = csv_rows(text, True)
    assert read(rows) == {}
    assert errors(rows) == [
        ("line 2", "A", "invalid_value"),
        ("line 3", "B", "invalid_request"),
        ("line 4", "-", "invalid_name"),
        ("line 5", "TWICE", "conflict"),
        ("line 6", "TWICE", "conflict"),
        ("line 7", "C", "invalid_request"),
        ("line 8", "D", "invalid_value"),
        ("line 9", "E", "redacted_value"),
        ("line 10", "-", "name_looks_like_secret"),
        ("line 11", "F", "invalid_request"),
    ]
    assert secret not in str([str(row.error) for row in rows] + [repr(row) for row in rows])


def test_dotenv_as_shells_and_libraries_read_it() -> None:
    text = r"""
# a comment
export OPENAI_API_KEY=sk-1   # behind it
  BARE = with blanks inside
HASH=pass#word
EMPTY_COMMENT=v # c
SINGLE='as $it \n is # here'
BACKTICK=`both " and '`
DOUBLE="tab\t quote\" dollar\$ back\\ other\x"  # comment
MULTI="one
two"
MULTI_SINGLE='one
two'
DOLLAR=$NOT_EXPANDED${AT}ALL
dotted.name-1=v
"""
    assert read(dotenv_rows(text.replace("\n", "\r\n"), True)) == {
        "OPENAI_API_KEY": "sk-1",
        "BARE": "with blanks inside",
        "HASH": "pass#word",
        "EMPTY_COMMENT": "v",
        "SINGLE": "as $it \\n is # here",
        "BACKTICK": "both \" and '",
        "DOUBLE": 'tab\t quote" dollar$ back\\ other\\x',
        "MULTI": "one\ntwo",
        "MULTI_SINGLE": "one\ntwo",
        "DOLLAR": "$NOT_EXPANDED${AT}ALL",
        "dotted.name-1": "v",
    }


def test_dotenv_lines_that_can_not_be_read_are_placed_and_the_others_read() -> None:
    rows = dotenv_rows("A=1\nno value here\nB='x' y\nC=\n=v\nD=\"a\nb\"\nD=2\na/b=3\nE=4", True)
    assert read(rows) == {"A": "1", "E": "4"}
    assert errors(rows) == [
        ("line 2", "-", "invalid_request"),
        ("line 3", "B", "invalid_request"),
        ("line 4", "C", "invalid_value"),
        ("line 5", "-", "invalid_request"),
        ("line 6", "D", "conflict"),
        ("line 8", "D", "conflict"),
        ("line 9", "-", "invalid_name"),
    ]


def test_dotenv_with_a_quote_that_never_closes_is_refused_as_a_whole() -> None:
    with pytest.raises(KtError, match="opens in line 2 never closes") as caught:
        dotenv_rows('A=1\nB="canary\nC=canary\n', True)
    assert "canary" not in str(caught.value)


VALUES = st.text(st.characters(exclude_characters="\0\r", exclude_categories=["Cs"]), min_size=1, max_size=30).filter(
    lambda text: text.strip("*•") != ""
)


@given(st.dictionaries(st.sampled_from("ABCDEF"), VALUES))
def test_what_a_csv_writer_writes_is_read_back(values: dict[str, str]) -> None:
    written = io.StringIO()
    csv.writer(written).writerows([("name", "value"), *values.items()])
    assert read(csv_rows(written.getvalue(), True)) == values


@given(st.dictionaries(st.sampled_from("ABCDEF"), VALUES))
def test_what_stands_in_double_quotes_is_read_back(values: dict[str, str]) -> None:
    lines = [
        f'{name}="' + value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
        for name, value in values.items()
    ]
    assert read(dotenv_rows("\n".join(lines), True)) == values


@given(st.text(max_size=60))
def test_whatever_stands_in_a_file_every_line_is_read_placed_or_refused(text: str) -> None:
    for reader in (csv_rows, dotenv_rows):
        rows: Sequence[Found] = []
        with contextlib.suppress(KtError):
            rows = reader(text, True)
        assert all((row.row is None) != (row.error is None) for row in rows)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("a/b.csv", "csv"),
        (".env", "dotenv"),
        (".env.production", "dotenv"),
        ("prod.env", "dotenv"),
        ("postgresql://h/d", "postgresql"),
        ("postgres://h/d", "postgresql"),
    ],
)
def test_a_format_is_told_by_the_name(text: str, kind: str) -> None:
    assert Source.of(text, None).kind == kind


@pytest.mark.parametrize("text", ["-", "keys.txt", "dump"])
def test_a_format_that_can_not_be_told_has_to_be_given(text: str, tmp_path: Path) -> None:
    with pytest.raises(KtError, match="--format"):
        Source.of(str(tmp_path / text), None)
    assert Source.of(text, "csv").kind == "csv"

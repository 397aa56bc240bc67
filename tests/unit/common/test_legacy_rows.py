"""Rows of the earlier system: which can be used, and what is said of the others."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.errors import KtError
from libs.common.legacy_rows import LegacyRow, RawRow, UnusableRow, is_sensitive, read_row
from libs.common.legacy_table import TableName, layout_of
from libs.common.secret import MAX_VALUE_BYTES


def raw(**changes: Any) -> RawRow:
    row: dict[str, Any] = {
        "name": b"OPENAI_API_KEY",
        "value": b"plain-value-1",
        "description": b"of the search team",
        "sensitive": "true",
        "version": "7",
        "copies": 1,
    }
    row |= changes
    return RawRow(**{"value_size": len(row["value"] or b""), **row})


def test_a_row_is_read_as_it_is() -> None:
    row = read_row(raw(sensitive="f", description=None))
    assert isinstance(row, LegacyRow)
    assert (row.name, row.value.reveal(), row.description, row.sensitive, row.version) == (
        "OPENAI_API_KEY",
        b"plain-value-1",
        "",
        False,
        "7",
    )
    assert "plain-value" not in repr(row)


@pytest.mark.parametrize(
    ("changes", "label", "problem"),
    [
        ({"name": b"openai/api/key"}, "openai/api/key", "slash at character 7"),
        ({"name": b"my key"}, "my key", "space at character 3"),
        ({"name": b"n" * 129}, "n" * 64 + "…", "129 characters"),
        ({"name": b""}, "(no name)", "name is empty"),
        ({"name": None}, "(no name)", "name is empty"),
        ({"name": b"\x1b[2Jx"}, "\ufffd[2Jx", "control character"),
        ({"name": b"\xff\xfe"}, "\ufffd\ufffd", "not allowed"),
        ({"name": b"sk-proj-abcdefghijklmnop"}, "(a name in the shape of a key)", "shape of a provider key"),
        ({"value": b""}, "OPENAI_API_KEY", "value is empty"),
        ({"value": None}, "OPENAI_API_KEY", "value is empty"),
        ({"value": None, "value_size": MAX_VALUE_BYTES + 1}, "OPENAI_API_KEY", "65,537 bytes"),
        ({"value": b"plain\0value"}, "OPENAI_API_KEY", "NUL"),
        ({"value": b"\xff\xfe"}, "OPENAI_API_KEY", "not text"),
        ({"value": b"********"}, "OPENAI_API_KEY", "placeholder"),
        ({"description": b"it is plain-value-1"}, "OPENAI_API_KEY", "contains the value"),
        ({"description": b"sk-proj-abcdefghijklmnop"}, "OPENAI_API_KEY", "shape of a key"),
        ({"description": b"d" * 1025}, "OPENAI_API_KEY", "1,024"),
        ({"description": b"\x07"}, "OPENAI_API_KEY", "control character"),
        ({"copies": 2}, "OPENAI_API_KEY", "2 rows have this name"),
    ],
)
def test_a_row_that_can_not_be_used_is_named_with_its_problem(
    changes: dict[str, Any], label: str, problem: str
) -> None:
    row = read_row(raw(**changes))
    assert isinstance(row, UnusableRow)
    assert row.label == label
    assert problem in row.problem


@given(
    st.builds(
        RawRow,
        name=st.none() | st.binary(max_size=140),
        value=st.none() | st.binary(max_size=40),
        value_size=st.integers(0, 70_000),
        description=st.none() | st.binary(max_size=40),
        sensitive=st.none() | st.text(max_size=5),
        version=st.just("1"),
        copies=st.integers(1, 2),
    )
)
def test_whatever_lies_in_a_row_it_is_used_or_named_on_one_printable_line(row: RawRow) -> None:
    found = read_row(row)
    if isinstance(found, UnusableRow):
        assert found.label.isprintable()
        assert found.problem.isprintable()


@pytest.mark.parametrize("written", ["false", "f", "0", " No ", "OFF", "n"])
def test_only_a_clear_no_makes_a_row_not_sensitive(written: str) -> None:
    assert not is_sensitive(written)


@pytest.mark.parametrize("written", [None, "", "true", "1", "maybe"])
def test_everything_else_makes_it_sensitive(written: str | None) -> None:
    assert is_sensitive(written)


@pytest.mark.parametrize("text", ["", ".", "a.", ".a", "a.b.c", "a\0b", "x" * 64])
def test_a_table_is_named_by_one_or_two_identifiers(text: str) -> None:
    with pytest.raises(KtError) as caught:
        TableName.parse(text)
    assert caught.value.code == "misconfigured"


def test_identifiers_are_quoted() -> None:
    assert TableName.parse('old.x"; DROP TABLE y').quoted == '"old"."x""; DROP TABLE y"'


@pytest.mark.parametrize(
    ("columns", "why"),
    [
        ([], "does not exist"),
        ([("v", "name", "S", "text", "UTF8")], "not an ordinary table"),
        ([("r", "name", "S", "text", "UTF8")], "lacks the column value and the column description"),
        ([("r", c, "N", "int4", "UTF8") for c in ("name", "value", "description", "sensitive")], "name is not text"),
    ],
)
def test_a_table_of_another_form_is_refused(columns: list[tuple[str, ...]], why: str) -> None:
    with pytest.raises(KtError, match=why):
        layout_of(TableName.parse("t"), columns)

"""Text, tables and times on a terminal."""

from __future__ import annotations

import io
import unicodedata
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.cli.tables import Column, Table
from libs.cli.terminal import absolute, age, ago, clean, has_colour, shortened, width

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@given(st.text())
def test_cleaned_text_has_no_control_or_format_character_but_joiners_of_letters(text: str) -> None:
    left = {unicodedata.category(character) for character in clean(text)}
    assert not left & {"Cc", "Zl", "Zp", "Cs"}
    assert not any(character in clean(text) for character in "\u202e\u2066\u200b\ufeff\x9b")


@given(st.text())
def test_cleaning_twice_changes_nothing(text: str) -> None:
    assert clean(clean(text)) == clean(text)


@given(st.text(st.characters(exclude_categories=["Cc", "Cs"])), st.integers(1, 40))
def test_shortened_text_fits(text: str, columns: int) -> None:
    assert width(shortened(text, columns)) <= columns


def test_wide_and_combining_characters_are_measured_as_they_are_shown() -> None:
    assert width("密钥") == 4
    assert width("e\u0301") == 1


@pytest.mark.parametrize(
    ("timestamp", "said"),
    [
        ("2026-11-23T11:59:48.123456Z", "11 s"),
        ("2026-11-23T11:30:00Z", "30 min"),
        ("2026-11-23T09:00:00Z", "3 h"),
        ("2026-10-14T12:00:00Z", "40 d"),
        ("2024-11-01T12:00:00Z", "2 y"),
        ("2026-11-23T12:00:05Z", "0 s"),
        ("", "-"),
        (None, "-"),
        ("yesterday", "-"),
    ],
)
def test_an_age_has_one_unit(timestamp: object, said: str) -> None:
    assert age(timestamp, NOW) == said


def test_times_are_utc_to_the_second() -> None:
    assert absolute("2026-11-23T08:39:03.192164+01:00") == "2026-11-23 07:39:03Z"
    assert absolute(1795419543) == "2026-11-23 07:39:03Z"
    assert ago("2026-11-23T11:00:00Z", NOW) == "2026-11-23 11:00:00Z (1 h ago)"


def test_colour_needs_a_terminal_and_no_objection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert has_colour(Terminal())
    assert not has_colour(io.StringIO())
    monkeypatch.setenv("TERM", "dumb")
    assert not has_colour(Terminal())
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    assert not has_colour(Terminal())


def test_a_table_is_aligned_and_marks_what_is_empty(capsys: pytest.CaptureFixture[str]) -> None:
    table = Table(Column("NAME"), Column("N", right=True), Column("REST"))
    table.print([["a", 1, ""], ["long-name", 200, "x"]])
    table.print([])
    table.print([["b", 3, "y"]])
    assert capsys.readouterr().out.splitlines() == [
        "NAME         N  REST",
        "a            1  -",
        "long-name  200  x",
        "b            3  y",
    ]


def test_a_narrow_terminal_does_without_optional_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    for columns, titles in (("20", ["NAME"]), ("80", ["NAME", "POSITION"])):
        terminal = Terminal()
        monkeypatch.setattr("sys.stdout", terminal)
        monkeypatch.setenv("COLUMNS", columns)
        Table(Column("NAME"), Column("POSITION", optional=True)).print([["a-name", "a-long-position"]])
        assert terminal.getvalue().splitlines()[0].split() == titles


def test_on_a_terminal_the_last_column_is_cut_to_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr("sys.stdout", terminal)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "30")
    Table(Column("NAME"), Column("DESCRIPTION")).print([["name", "word " * 20]])
    assert all(len(line) <= 30 for line in terminal.getvalue().splitlines())
    assert "…" in terminal.getvalue()

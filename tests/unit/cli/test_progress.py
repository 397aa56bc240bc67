"""Saying what is under way."""

from __future__ import annotations

import io

import pytest

from libs.cli.progress import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_without_a_terminal_each_step_is_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress("starting", lines=True) as progress:
        progress.step("started nats")
        progress.note("made a master key")
    assert capsys.readouterr().err.splitlines() == ["starting", "started nats", "made a master key"]


def test_without_a_terminal_short_work_is_silent(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress("reloading") as progress:
        progress.step("still reloading")
    assert capsys.readouterr().err == ""


def test_on_a_terminal_only_notes_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    with Progress("starting") as progress:
        progress.step("started nats")
        progress.note("made a master key")
        progress.end()
    lines = [line.split("\x1b[K")[-1] for line in terminal.getvalue().split("\n")]
    assert lines == ["made a master key", ""]

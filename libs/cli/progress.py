"""Saying what is under way, on stderr: a moving mark on a terminal; elsewhere nothing, or a line for each step."""

from __future__ import annotations

import sys
import threading
from types import TracebackType
from typing import Final, Self

from libs.cli.terminal import clean

_MARKS: Final = "|/-\\"
_FRAME_SECONDS: Final = 0.12
_CLEAR: Final = "\r\x1b[K"
_BAR: Final = 24


class Progress:
    """``with Progress("stopping"): …``. Leaves nothing behind on a terminal.

    Where stderr is no terminal, it is silent, or with ``lines`` prints the text and each step as a line.
    """

    def __init__(self, text: str, *, lines: bool = False) -> None:
        self._text = text
        self._lines = lines
        self._moving = sys.stderr.isatty()
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        if self._moving:
            self._thread = threading.Thread(target=self._spin, daemon=True)
            self._thread.start()
        elif self._lines and self._text:
            self.note(self._text)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    def step(self, text: str) -> None:
        """What is done now."""
        self._text = clean(text)
        if not self._moving and self._lines:
            self.note(self._text)

    def note(self, text: str) -> None:
        """A line that stays."""
        prefix = _CLEAR if self._moving and not self._over.is_set() else ""
        sys.stderr.write(f"{prefix}{clean(text)}\n")
        sys.stderr.flush()

    def end(self) -> None:
        """Nothing is under way any more; may be called twice."""
        if self._thread is not None and not self._over.is_set():
            self._over.set()
            self._thread.join()
            sys.stderr.write(_CLEAR)
            sys.stderr.flush()
        self._over.set()

    def _spin(self) -> None:
        frame = 0
        while not self._over.wait(_FRAME_SECONDS):
            sys.stderr.write(f"{_CLEAR}{_MARKS[frame % len(_MARKS)]} {self._text}")
            sys.stderr.flush()
            frame += 1


def position(done: int, total: int, what: str, seconds: float, done_before: int = 0) -> str:
    """A bar, with the rate since ``done_before``, ``seconds`` ago, and how long the rest takes at that."""
    share = min(1.0, done / total) if total else 1.0
    bar = "#" * int(share * _BAR)
    text = f"[{bar:.<{_BAR}}] {share:4.0%}  {done:,} of {total:,} {what}"
    rate = (done - done_before) / seconds if seconds > 0 else 0.0
    if rate > 0 and done < total:
        text += f", {rate:,.0f}/s, {_duration((total - done) / rate)} left"
    return text


def _duration(seconds: float) -> str:
    if seconds < 90:  # noqa: PLR2004
        return f"{seconds:.0f} s"
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < 90 else f"{minutes / 60:.1f} h"  # noqa: PLR2004


class Bar:
    """Shows how far a step is (libs.backup.progress.Progress), on a terminal or elsewhere silently."""

    WIDTH: Final = 24

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._what, self._total, self._done, self._shown = "", 0, 0, -1

    def step(self, what: str, total: int) -> None:
        self._what, self._total, self._done, self._shown = what, total, 0, -1
        self._progress.step(what)

    def moved(self, units: int) -> None:
        self._done += units
        percent = min(100, self._done * 100 // self._total) if self._total else 0
        if self._total and percent != self._shown:
            self._shown = percent
            filled = self.WIDTH * percent // 100
            bar = "#" * filled + "-" * (self.WIDTH - filled)
            self._progress.step(f"{self._what}  [{bar}] {percent:3d} %")

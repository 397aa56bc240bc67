"""Plain aligned tables: a header in capitals, two spaces between columns, no lines drawn."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from libs.cli.terminal import clean, shortened, styled, width

_GAP: Final = "  "
_NARROWEST: Final = 12


@dataclass(frozen=True, slots=True)
class Column:
    """``style`` picks a style name (or "") for a cell; ``right`` aligns numbers; an ``optional`` column is left out
    where a terminal is too narrow for all."""

    title: str
    right: bool = False
    style: Callable[[str], str] | None = None
    optional: bool = False


class Table:
    """Prints rows as they come, a batch at a time; columns grow when a later batch needs it.

    Cells come from elsewhere: control characters in them are replaced. On a terminal the last column is cut to fit.
    """

    def __init__(self, *columns: Column) -> None:
        self._columns = columns
        self._widths = [len(column.title) for column in columns]
        self._shown = list(range(len(columns)))
        self._begun = False

    def print(self, rows: Iterable[Sequence[object]]) -> None:
        cells = [[clean(str(cell)) or "-" for cell in row] for row in rows]
        if not cells:
            return
        for row in cells:
            self._widths = [max(known, width(cell)) for known, cell in zip(self._widths, row, strict=True)]
        if not self._begun:
            self._begin()
        for row in cells:
            print(self._line(row, styles=True))

    def _begin(self) -> None:
        self._begun = True
        if sys.stdout.isatty() and self._total() > shutil.get_terminal_size().columns:
            self._shown = [index for index in self._shown if not self._columns[index].optional]
        print(styled(self._line([column.title for column in self._columns]), "bold"))

    def _total(self) -> int:
        return sum(self._widths) + len(_GAP) * (len(self._widths) - 1)

    def _line(self, cells: Sequence[str], *, styles: bool = False) -> str:
        line = []
        for index in self._shown:
            column, text = self._columns[index], cells[index]
            if index == self._shown[-1]:
                text = self._cut(text)
            space = " " * max(0, self._widths[index] - width(text))
            padded = space + text if column.right else text + space
            line.append(styled(padded, column.style(cells[index])) if styles and column.style else padded)
        return _GAP.join(line).rstrip()

    def _cut(self, cell: str) -> str:
        if not sys.stdout.isatty():
            return cell
        taken = sum(self._widths[index] + len(_GAP) for index in self._shown[:-1])
        return shortened(cell, max(_NARROWEST, shutil.get_terminal_size().columns - taken))


def print_details(details: Iterable[tuple[str, object]]) -> None:
    """One thing, a line for each of its properties."""
    rows = [(title, clean(str(value)) or "-") for title, value in details]
    widest = max(len(title) for title, _ in rows)
    for title, value in rows:
        print(f"{styled(title.ljust(widest), 'bold')}{_GAP}{value}")

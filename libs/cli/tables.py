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
    """``style`` picks a style name (or "") for a cell; ``right`` aligns numbers."""

    title: str
    right: bool = False
    style: Callable[[str], str] | None = None


class Table:
    """Prints rows as they come, a batch at a time; columns grow when a later batch needs it.

    Cells come from elsewhere: control characters in them are replaced. On a terminal the last column is cut to fit.
    """

    def __init__(self, *columns: Column) -> None:
        self._columns = columns
        self._widths = [len(column.title) for column in columns]
        self._begun = False

    def print(self, rows: Iterable[Sequence[object]]) -> None:
        cells = [[clean(str(cell)) or "-" for cell in row] for row in rows]
        if not cells:
            return
        for row in cells:
            self._widths = [max(known, width(cell)) for known, cell in zip(self._widths, row, strict=True)]
        if not self._begun:
            self._begun = True
            print(styled(self._line([column.title for column in self._columns]), "bold"))
        for row in cells:
            print(self._line(row, styles=True))

    def _line(self, cells: Sequence[str], *, styles: bool = False) -> str:
        shown = []
        last = len(cells) - 1
        for index, (column, cell) in enumerate(zip(self._columns, cells, strict=True)):
            text = self._cut(cell) if index == last else cell
            space = " " * max(0, self._widths[index] - width(text))
            padded = text if index == last and not column.right else text + space
            if column.right:
                padded = space + text
            shown.append(styled(padded, column.style(cell)) if styles and column.style else padded)
        return _GAP.join(shown).rstrip()

    def _cut(self, cell: str) -> str:
        if not sys.stdout.isatty():
            return cell
        taken = sum(self._widths[:-1]) + len(_GAP) * (len(self._widths) - 1)
        return shortened(cell, max(_NARROWEST, shutil.get_terminal_size().columns - taken))


def print_details(details: Iterable[tuple[str, object]]) -> None:
    """One thing, a line for each of its properties."""
    rows = [(title, clean(str(value)) or "-") for title, value in details]
    widest = max(len(title) for title, _ in rows)
    for title, value in rows:
        print(f"{styled(title.ljust(widest), 'bold')}{_GAP}{value}")

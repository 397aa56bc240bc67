"""JSON on stdout, for programs. ASCII only, so that nothing in it can take over a terminal."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any


def print_json(document: Any) -> None:
    print(json.dumps(document, indent=2))


def print_json_line(document: Any) -> None:
    """One document a line, out at once, for output that is followed."""
    print(json.dumps(document), flush=True)


class JsonPage:
    """A page ``{"items": […], "next_cursor": "…"}``, written while its items arrive."""

    def __init__(self) -> None:
        self.next_cursor: str | None = None
        self._written = 0

    def add(self, items: Iterable[Mapping[str, Any]]) -> None:
        for item in items:
            sys.stdout.write(("," if self._written else "") + "\n    " + json.dumps(item))
            self._written += 1

    @property
    def tail(self) -> str:
        end = "\n  " if self._written else ""
        return f'{end}],\n  "next_cursor": {json.dumps(self.next_cursor)}\n}}\n'


@contextmanager
def json_page() -> Iterator[JsonPage]:
    """Write a page around what is added. After a failure it stays open: half an answer is not valid JSON."""
    page = JsonPage()
    sys.stdout.write('{\n  "items": [')
    yield page
    sys.stdout.write(page.tail)

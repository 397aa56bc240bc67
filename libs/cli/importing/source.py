"""What an import reads: rows with the place they came from, each usable or not."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from libs.cli.importing.csv_rows import csv_rows
from libs.cli.importing.dotenv_rows import dotenv_rows
from libs.cli.importing.found import Found
from libs.common.errors import KtError

MAX_BYTES: Final = 64 * 1024 * 1024
STDIN: Final = "-"
URLS: Final = ("postgresql://", "postgres://")
POSTGRESQL: Final = "postgresql"

_READERS: Final[Mapping[str, Callable[[str, bool], Sequence[Found]]]] = {"csv": csv_rows, "dotenv": dotenv_rows}
FORMATS: Final = (*_READERS, POSTGRESQL)


@dataclass(frozen=True, slots=True)
class Source:
    """``text`` is a path, ``-`` for stdin, or the URL of a database."""

    text: str
    kind: str

    @classmethod
    def of(cls, text: str, kind: str | None) -> Source:
        """
        Raises:
            KtError: ``usage`` when the format is not given and can't be told from the name.
        """
        found = kind or _told_by_name(text)
        if found is None:
            raise KtError(
                "usage",
                "The format can't be told from the name; expected a file .csv or .env, or --format.",
                f"--format takes {', '.join(FORMATS)}.",
            )
        return cls(text, found)


@dataclass(frozen=True, slots=True)
class Address:
    """A connection string of PostgreSQL. ``shown``: it was an argument, which the process list shows."""

    text: str = field(repr=False)
    shown: bool


def read_file(source: Source, *, sensitive: bool) -> Sequence[Found]:
    """The rows of a file or of stdin; ``sensitive`` is for those that do not say.

    Raises:
        KtError: ``usage`` when it can't be read as a whole; nothing of it is repeated.
    """
    return _READERS[source.kind](_text(source.text), sensitive)


def read_address(source: Source) -> Address:
    """Where the database is: a URL, or what the one line of a file or of stdin says."""
    if source.text.startswith(URLS):
        return Address(source.text, shown=True)
    return Address(_text(source.text).strip(), shown=False)


def _text(path: str) -> str:
    raw = _content(path)
    if len(raw) > MAX_BYTES:
        raise KtError("usage", f"The file is too large; expected at most {MAX_BYTES:,} bytes.")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise KtError("usage", f"Line {line} is not text in UTF-8; expected a file in UTF-8.") from None


def _content(path: str) -> bytes:
    if path == STDIN:
        return sys.stdin.buffer.read(MAX_BYTES + 1)
    try:
        with Path(path).open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except OSError as error:
        raise KtError("usage", f"The file can't be read: {error.strerror}.") from None


def _told_by_name(text: str) -> str | None:
    if text.startswith(URLS):
        return POSTGRESQL
    name = Path(text).name.lower()
    if name.endswith(".csv"):
        return "csv"
    if name == ".env" or name.startswith(".env.") or name.endswith((".env", ".dotenv")):
        return "dotenv"
    return None

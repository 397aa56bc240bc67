"""Where a value may come from: a pipe, a file or a hidden prompt. Never an argument."""

from __future__ import annotations

import sys
from collections.abc import Callable
from getpass import getpass
from pathlib import Path
from typing import Any, BinaryIO, Final, TypeVar

import click

from libs.cli.usage import value_as_argument
from libs.common.errors import KtError
from libs.common.secret import MAX_VALUE_BYTES, Secret, checked_value

_TERMINAL_LINE: Final = 4095
"""What a terminal hands over of one line (termios(3), canonical mode); it drops the rest silently."""

_Command = TypeVar("_Command", bound=Callable[..., Any])


def value_options(command: _Command) -> _Command:
    """Decorator: ``--value-file``, and an explanation for whoever tries ``--value``."""
    command = click.option(
        "--value-file",
        type=click.Path(path_type=Path, allow_dash=True, dir_okay=False),
        metavar="PATH",
        help="Read the value from a file (- for stdin). One final line break is dropped.",
    )(command)
    return click.option("--value", hidden=True, expose_value=False, callback=_refuse)(command)


def read_value(value_file: Path | None, prompt: str, option: str = "--value-file") -> Secret:
    """The value: from the file, else from stdin when it is no terminal, else asked for twice.

    One final line break of a file or pipe is dropped. ``option`` is what named the file.

    Raises:
        KtError: ``invalid_value``, ``redacted_value``, or ``usage`` when the file can't be read.
    """
    if value_file is not None and str(value_file) != "-":
        try:
            with value_file.open("rb") as file:
                return _piped(file, f"The file given by {option}")
        except OSError as error:
            raise KtError("usage", f"The file given by {option} can't be read: {error.strerror}.") from None
    if value_file is not None or not sys.stdin.isatty():
        return _piped(sys.stdin.buffer, "stdin")
    return _asked(prompt)


def _piped(source: BinaryIO, place: str) -> Secret:
    raw = source.read(MAX_VALUE_BYTES + len(b"\r\n") + 1)
    value = raw.removesuffix(b"\n").removesuffix(b"\r") if raw.endswith(b"\n") else raw
    if not value:
        raise KtError(
            "invalid_value",
            f"{place} held no value; expected 1 to {MAX_VALUE_BYTES:,} bytes. Nothing was sent.",
            'Pipe the value in (printf %s "$KEY" | kt …), or run kt at a terminal to be asked for it.',
        )
    if len(value) > MAX_VALUE_BYTES:
        raise KtError(
            "invalid_value",
            f"The value has more than {MAX_VALUE_BYTES:,} bytes, the limit. Nothing was sent.",
            "Store a larger document elsewhere and keep only its key here.",
        )
    try:
        return checked_value(value.decode())
    except UnicodeDecodeError:
        raise KtError(
            "invalid_value",
            f"{place} held bytes that are not text; expected UTF-8. Nothing was sent.",
            "Encode a binary key first, for example with base64.",
        ) from None


def _asked(prompt: str) -> Secret:
    try:
        first = getpass(f"{prompt} (hidden): ")
        if len(first.encode("utf-8", "surrogateescape")) >= _TERMINAL_LINE:
            raise KtError(
                "invalid_value",
                f"The terminal cuts lines at {_TERMINAL_LINE:,} bytes, so the value may be incomplete. "
                "Nothing was sent.",
                "Give a long value with --value-file.",
            )
        again = getpass("The same again: ") if first else ""
    except EOFError:
        print(file=sys.stderr)
        raise KtError("invalid_value", "No value was given; nothing was sent.") from None
    if first != again:
        raise KtError(
            "invalid_value",
            "The two values differ; nothing was sent.",
            "Try again. A value with several lines can't be typed: give it with --value-file.",
        )
    return checked_value(first)


def _refuse(ctx: click.Context, _: click.Parameter, value: object) -> None:
    if value is not None:
        raise value_as_argument(ctx.command_path)

"""``kt``: runs a command line and turns every ending into an exit code (libs.common.errors.Exit)."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from typing import Final

import click

from libs.cli.completing import COMPLETE_VARIABLE, answer
from libs.cli.problems import report, wants_json
from libs.cli.root import kt
from libs.cli.session import DEBUG_VARIABLE, debug_wanted
from libs.cli.usage import from_click
from libs.common.errors import Exit, KtError

INTERRUPTED: Final = 130
"""As a shell reports a program that ended by SIGINT."""
BROKEN_PIPE: Final = 141
"""As a shell reports a program that ended by SIGPIPE."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``kt`` with ``arguments`` (default: those of the process) and return its exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    _prepare_streams()
    try:
        return _run(words)
    except BrokenPipeError:
        _silence_stdout()
        return BROKEN_PIPE
    except (KeyboardInterrupt, click.Abort):
        print(file=sys.stderr)
        return INTERRUPTED


def _prepare_streams() -> None:
    """Make the standard streams usable where the caller closed them, or chose an encoding that lacks characters."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: PTH123, SIM115
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def _run(words: list[str]) -> int:
    try:
        code = _invoke(words)
        sys.stdout.flush()
        return code  # noqa: TRY300  writing may fail as well
    except KtError as error:
        failure = error
    except click.exceptions.NoArgsIsHelpError as error:
        print(error.format_message(), file=sys.stderr if words else sys.stdout)
        return Exit.USAGE if words else Exit.OK
    except click.exceptions.Exit as end:
        return end.exit_code
    except click.ClickException as error:
        failure = from_click(error)
    except (BrokenPipeError, KeyboardInterrupt, click.Abort):
        raise
    except OSError as error:
        failure = KtError("internal", f"Reading or writing failed: {error.strerror or type(error).__name__}.")
    except Exception as error:  # noqa: BLE001  a traceback is for developers, and may quote what must not be shown
        failure = _unexpected(error)
    try:
        sys.stdout.flush()
    except OSError:
        _silence_stdout()
    report(failure, as_json=wants_json(words))
    return int(failure.kind.exit)


def _invoke(words: list[str]) -> int:
    instruction = os.environ.get(COMPLETE_VARIABLE)
    if instruction:
        return answer(kt, instruction)
    with kt.make_context("kt", list(words)) as ctx:  # a copy: click uses it up
        result = kt.invoke(ctx)
    return result if isinstance(result, int) else Exit.OK


def _unexpected(error: Exception) -> KtError:
    if debug_wanted():
        _print_frames(error)
    return KtError(
        "internal",
        f"kt failed in a way it was not prepared for ({type(error).__name__}).",
        f"Run it again with {DEBUG_VARIABLE}=1 to see where, and report that.",
    )


def _print_frames(error: Exception) -> None:
    """Where it happened, without the message of the error: that may quote a value."""
    for frame in traceback.format_list(traceback.extract_tb(error.__traceback__)):
        sys.stderr.write(frame)
    print(type(error).__name__, file=sys.stderr)


def _silence_stdout() -> None:
    """Nothing can be written any more: keep the interpreter from complaining when it flushes at its end."""
    with open(os.devnull, "wb") as devnull:  # noqa: PTH123
        os.dup2(devnull.fileno(), sys.stdout.fileno())


if __name__ == "__main__":
    raise SystemExit(main())

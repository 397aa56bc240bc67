"""Answers for shells that complete a command line: fast, silent, and never in the way."""

from __future__ import annotations

import contextlib
import io
import sys
from typing import Final

import click
from click.shell_completion import shell_complete

from libs.common.errors import Exit

COMPLETE_VARIABLE: Final = "_KT_COMPLETE"


def answer(root: click.Command, instruction: str) -> int:
    """Answer what the shell asks (``bash_complete``, ``zsh_source``, …); nothing at all when that fails."""
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            shell_complete(root, {}, "kt", COMPLETE_VARIABLE, instruction)
    except Exception:  # noqa: BLE001  a failing completion must leave the line that is being typed alone
        return Exit.FAILED
    sys.stdout.flush()
    return Exit.OK

"""What is wrong with a command line, said without repeating it: a key may stand in the wrong place."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import Final

import click

from libs.common.errors import KtError
from libs.common.names import looks_like_secret

_HARMLESS: Final = re.compile(r"-{0,2}[a-z][a-z-]{0,19}")
_VALUE_WAYS: Final = "Pipe it in, give --value-file PATH, or run without either to be asked for it."


def value_as_argument(command_path: str) -> KtError:
    """A value was given on the command line."""
    return KtError(
        "usage",
        f"`{command_path}` was given a value on the command line, where the shell's history and the process list "
        "show it; expected it from a pipe, a file or the prompt. Nothing was sent.",
        f"{_VALUE_WAYS} If it was a real key, replace it at the provider.",
    )


def unknown_command(ctx: click.Context, word: str, known: Iterable[str]) -> KtError:
    nearest = _nearest(word, known)
    hint = f"Did you mean {nearest}? " if nearest else ""
    return KtError(
        "usage", f"`{ctx.command_path}` has no command {_named(word)}.", f"{hint}See `{ctx.command_path} --help`."
    )


def too_many_arguments(ctx: click.Context, surplus: int, *, takes_value: bool) -> KtError:
    if takes_value:
        return value_as_argument(ctx.command_path)
    what = "one argument" if surplus == 1 else f"{surplus} arguments"
    return KtError("usage", f"`{ctx.command_path}` was given {what} too many; expected {_usage(ctx)}.", _see(ctx))


def from_click(error: click.ClickException) -> KtError:
    """A parse error of click in our words."""
    ctx = error.ctx if isinstance(error, click.UsageError) else None
    match error:
        case click.NoSuchOption():
            return _unknown_option(error)
        case click.BadOptionUsage():
            return KtError("usage", f"{_named(error.option_name)} {_arity(error)}.", _see(ctx))
        case click.MissingParameter():
            return KtError("usage", f"{_parameter(error)} is missing; expected {_usage(ctx)}.", _see(ctx))
        case click.BadParameter():
            return KtError(
                "usage", f"{_parameter(error)} is not valid; expected {_expected(error.param, ctx)}.", _see(ctx)
            )
        case _:
            return KtError("usage", f"The command is not complete; expected {_usage(ctx)}.", _see(ctx))


def _unknown_option(error: click.NoSuchOption) -> KtError:
    nearest = _join(error.possibilities or ())
    hint = f"Did you mean {nearest}? " if nearest else ""
    path = error.ctx.command_path if error.ctx else "kt"
    return KtError("usage", f"`{path}` has no option {_named(error.option_name)}.", f"{hint}{_see(error.ctx)}")


def _arity(error: click.BadOptionUsage) -> str:
    return "takes no value" if "not take" in error.message else "needs a value after it"


def _named(word: str) -> str:
    """A word of the command line, if it can't be a key; nothing that was typed is repeated otherwise."""
    if _HARMLESS.fullmatch(word) and not looks_like_secret(word):
        return f"`{word}`"
    return "of that name"


def _nearest(word: str, known: Iterable[str]) -> str:
    return _join(get_close_matches(word, list(known), n=3, cutoff=0.5))


def _join(words: Sequence[str]) -> str:
    return " or ".join(f"`{word}`" for word in words)


def _parameter(error: click.BadParameter) -> str:
    param = error.param
    if param is None:
        return "An argument"
    if isinstance(param, click.Option):
        return max(param.opts, key=len)
    return param.human_readable_name


def _expected(param: click.Parameter | None, ctx: click.Context | None) -> str:
    kind = param.type if param else None
    match kind:
        case click.Choice():
            return "one of " + ", ".join(map(str, kind.choices))
        case click.IntRange(min=low, max=high):
            bounds = f" from {low}" if high is None else f" from {low} to {high}"
            return f"a whole number{bounds}"
        case click.Path():
            return "a directory" if not kind.file_okay else "a file that can be read"
        case _:
            return _usage(ctx)


def _usage(ctx: click.Context | None) -> str:
    if ctx is None:
        return "`kt COMMAND`"
    return "`" + ctx.get_usage().removeprefix("Usage: ").replace("\n", " ") + "`"


def _see(ctx: click.Context | None) -> str:
    return f"See `{ctx.command_path if ctx else 'kt'} --help`."

"""The reference of ``kt``, generated from its commands by ``make contracts``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import click

from libs.cli.base import GLOBAL_OPTIONS, KtCommand, KtGroup
from libs.cli.root import kt
from libs.common.errors import CATALOGUE, Exit

_EXITS: Final = {
    Exit.OK: "it was done",
    Exit.FAILED: "it failed inside, or the answer to a question was no",
    Exit.USAGE: "the command line, a name, a value or a file is not valid",
    Exit.NOT_FOUND: "there is no such thing",
    Exit.CONFLICT: "it exists already, or somebody else changed it first",
    Exit.DENIED: "no valid token, or one that does not allow this",
    Exit.UNREACHABLE: "the system can't be reached, or a part of it does not answer",
}
_HEAD: Final = """\
# kt

`kt` runs the system and keeps the keys in it. This page is generated from the program; `kt COMMAND --help` says the
same.

## Where it looks

Run beside a home (`.keeptrusts`, made by `kt up`), `kt` finds address and token by itself.

| | on the command line | else in the environment | else |
|---|---|---|---|
| home | `--home DIRECTORY` | `KEEPTRUSTS_HOME` | `.keeptrusts` in the current directory |
| address of the API | `--api-url URL` | `KEEPTRUSTS_API_URL` | `api_url` in the home's `state.json` |
| token | `--token-file FILE` | `KEEPTRUSTS_TOKEN` | `admin.token` in the home |

With `--home`, address and token come from that home, whatever the environment says. A token that was only found, in
a home that nobody named, is sent to that home's own address and to this machine, nowhere else. A home of another user
is not used.

## Values

A value comes from a pipe, from `--value-file`, or from a hidden prompt that asks twice. It is never an argument: the
shell's history and the process list would show it. One final line break (`\\n` or `\\r\\n`) of a pipe or file is
dropped.

## Output

`--output json` (`-o json`), before or after the command, prints one JSON document on stdout; `kt events tail` prints
one a line. A failure is then one problem document (RFC 9457) on stderr. Otherwise a failure is told in a few lines on
stderr: what happened, what was expected, what to do next. Colours appear on terminals only, and not with `NO_COLOR`.

`KEEPTRUSTS_DEBUG=1` (or `--debug`) shows each request on stderr, without token or body.
"""


def render() -> str:
    """The whole page as Markdown."""
    return "\n".join([_HEAD, *_exit_codes(), *_global_options(), "## Commands", "", *_commands()]).rstrip() + "\n"


def _exit_codes() -> Iterator[str]:
    yield "## Exit codes\n"
    yield "| code | meaning | error codes |\n|---|---|---|"
    for code, meaning in _EXITS.items():
        errors = ", ".join(f"`{name}`" for name, kind in CATALOGUE.items() if kind.exit == code)
        yield f"| {int(code)} | {meaning} | {errors} |"
    yield "| 130 | ended by Ctrl-C | |\n| 141 | nobody read the output any more | |\n"


def _global_options() -> Iterator[str]:
    yield "## Options of every command\n"
    yield from _options(click.Context(kt, info_name="kt", **kt.context_settings), list(GLOBAL_OPTIONS))


def _commands() -> Iterator[str]:
    root = click.Context(kt, info_name="kt", **kt.context_settings)
    for name in kt.list_commands(root):
        command = kt.get_command(root, name)
        if command is None:
            raise AssertionError(f"{name} is listed and does not exist")
        yield from _command(command, name, root)


def _command(command: click.Command, name: str, parent: click.Context) -> Iterator[str]:
    ctx = click.Context(command, info_name=name, parent=parent, **command.context_settings)
    depth = 3 if parent.parent is None else 4
    yield f"{'#' * depth} {ctx.command_path}\n"
    yield f"{_text(command)}\n"
    if isinstance(command, KtGroup):
        for child in command.list_commands(ctx):
            found = command.get_command(ctx, child)
            if found is not None:
                yield from _command(found, child, ctx)
        return
    yield f"```\n{command.get_usage(ctx).removeprefix('Usage: ')}\n```\n"
    yield from _options(ctx, [param for param in command.params if not getattr(param, "hidden", False)])
    if isinstance(command, KtCommand) and command.examples:
        yield "```sh"
        yield from command.examples
        yield "```\n"


def _options(ctx: click.Context, params: list[click.Parameter]) -> Iterator[str]:
    records = [param.get_help_record(ctx) for param in params if isinstance(param, click.Option)]
    if not any(records):
        return
    yield "| option | |\n|---|---|"
    for record in records:
        if record is not None:
            syntax, text = (part.replace("|", "\\|") for part in record)
            yield f"| `{syntax}` | {' '.join(text.split())} |"
    yield ""


def _text(command: click.Command) -> str:
    paragraphs = (command.help or "").split("\n\n")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)

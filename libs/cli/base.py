"""Commands that take the options of ``kt`` itself before and after their own, and groups that import on demand."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import click
from click.shell_completion import CompletionItem

from libs.cli.session import Session
from libs.cli.usage import too_many_arguments, unknown_command


def _remember(ctx: click.Context, param: click.Parameter, value: Any) -> None:
    session = ctx.ensure_object(Session)
    if value is not None and value is not False and param.name:
        setattr(session, param.name, value)


def _global_options() -> tuple[click.Option, ...]:
    shared: dict[str, Any] = {"expose_value": False, "callback": _remember, "default": None}
    directory, file = click.Path(file_okay=False, path_type=Path), click.Path(dir_okay=False, path_type=Path)
    return (
        click.Option(
            ["-o", "--output"],
            type=click.Choice(["table", "json"]),
            metavar="table|json",
            help="For people (table, the default) or for programs.",
            **shared,
        ),
        click.Option(
            ["--home", "home_option"],
            type=directory,
            metavar="DIRECTORY",
            help="The system's home; else KEEPTRUSTS_HOME, else .keeptrusts.",
            **shared,
        ),
        click.Option(
            ["--api-url"], metavar="URL", help="The API; else KEEPTRUSTS_API_URL, else the home's.", **shared
        ),
        click.Option(
            ["--token-file"],
            type=file,
            metavar="FILE",
            help="Holds the token; else KEEPTRUSTS_TOKEN, else the home's.",
            **shared,
        ),
        click.Option(["--debug"], is_flag=True, help="Show requests on stderr, without token or body.", **shared),
    )


GLOBAL_OPTIONS: Final = _global_options()


class _Shared(click.Command):
    """What every command has: the global options, help in sections, examples."""

    def __init__(self, *args: Any, examples: Sequence[str] = (), **settings: Any) -> None:
        settings.setdefault("context_settings", {}).setdefault("help_option_names", ["-h", "--help"])
        super().__init__(*args, **settings)
        self.examples = tuple(examples)

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        return [*super().get_params(ctx), *GLOBAL_OPTIONS]

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        if self.examples:
            with formatter.section("Examples"):
                for example in self.examples:
                    formatter.write(f"{' ' * formatter.current_indent}{example}\n")
        own, shared = self._option_records(ctx)
        with formatter.section("Options"):
            formatter.write_dl(own)
        with formatter.section("Options of every command"):
            if ctx.parent is None:
                formatter.write_dl(shared)
            else:
                formatter.write_text(f"{', '.join(syntax for syntax, _ in shared)}. See `kt --help`.")

    def _option_records(self, ctx: click.Context) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
        own: list[tuple[str, str]] = []
        shared: list[tuple[str, str]] = []
        for param in self.get_params(ctx):
            record = None if isinstance(param, click.Argument) else param.get_help_record(ctx)
            if record is not None:
                (shared if param in GLOBAL_OPTIONS else own).append(record)
        return own, shared


class KtCommand(_Shared):
    """One command. With ``takes_value`` a surplus argument is taken for a value in the wrong place."""

    def __init__(self, *args: Any, takes_value: bool = False, **settings: Any) -> None:
        settings.setdefault("context_settings", {})["allow_extra_args"] = True
        super().__init__(*args, **settings)
        self.takes_value = takes_value

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            surplus = super().parse_args(ctx, args)
        except click.UsageError as error:
            error.ctx = error.ctx or ctx
            raise
        if surplus and not ctx.resilient_parsing:
            raise too_many_arguments(ctx, len(surplus), takes_value=self.takes_value)
        return surplus


class KtGroup(_Shared, click.Group):
    """A group of commands in the order they were added."""

    command_class = KtCommand

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  the signature is click's
        return list(self.commands)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        self.format_commands(ctx, formatter)
        super().format_options(ctx, formatter)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        command = self.get_command(ctx, args[0])
        if command is None and not ctx.resilient_parsing:
            raise unknown_command(ctx, args[0], self.list_commands(ctx))
        return (command.name if command else None), command, args[1:]


@dataclass(frozen=True, slots=True)
class Entry:
    """A command that is imported when it is used: ``module:attribute``, its line in the help, its section there."""

    target: str
    summary: str
    section: str


class LazyGroup(KtGroup):
    """A group that knows its commands by name and summary, and imports one only to run it or to show its help."""

    def __init__(self, *args: Any, entries: Mapping[str, Entry], aliases: Mapping[str, str], **settings: Any) -> None:
        super().__init__(*args, **settings)
        self._entries = entries
        self._aliases = aliases

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  the signature is click's
        return list(self._entries)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        entry = self._entries.get(self._aliases.get(cmd_name, cmd_name))
        if entry is None:
            return None
        module, _, attribute = entry.target.partition(":")
        command = getattr(importlib.import_module(module), attribute)
        return command if isinstance(command, click.Command) else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        sections: dict[str, list[tuple[str, str]]] = {}
        for name, entry in self._entries.items():
            sections.setdefault(entry.section, []).append((name, entry.summary))
        widest = max(map(len, self._entries))
        for section, records in sections.items():
            with formatter.section(section):
                formatter.write_dl([(name.ljust(widest), summary) for name, summary in records])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        command = self.get_command(ctx, args[0])
        if command is None and not ctx.resilient_parsing:
            raise unknown_command(ctx, args[0], [*self._entries, *self._aliases])
        return args[0], command, args[1:]

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem[str]]:
        names = [
            CompletionItem(name, help=entry.summary)
            for name, entry in self._entries.items()
            if name.startswith(incomplete)
        ]
        return names + click.Command.shell_complete(self, ctx, incomplete)


pass_session = click.make_pass_decorator(Session)

"""``kt completion``: scripts that teach a shell to complete ``kt``."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from libs.cli.base import KtCommand
from libs.cli.completing import COMPLETE_VARIABLE


@click.command(
    cls=KtCommand,
    examples=(
        'eval "$(kt completion bash)"                              # or in ~/.bashrc',
        'kt completion zsh > "${fpath[1]}/_kt"',
        "kt completion fish > ~/.config/fish/completions/kt.fish",
    ),
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print a completion script. It completes commands, options and the names of config variables."""
    kind = get_completion_class(shell)
    if kind is None:
        raise AssertionError(f"click knows no {shell}")
    click.echo(kind(ctx.find_root().command, {}, "kt", COMPLETE_VARIABLE).source().rstrip())

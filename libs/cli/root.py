"""The tree of commands: names and summaries here, each command in a module that is imported when it is needed."""

from __future__ import annotations

from typing import Final

import click

from libs.cli.base import Entry, LazyGroup

_SYSTEM, _SECRETS, _GATEWAYS, _OTHER = "System", "Secrets", "Gateways and audit", "This program"

ALIASES: Final = {"vars": "config-variables"}

ENTRIES: Final = {
    "up": Entry("libs.cli.commands.system:up", "Start everything in this home and stay in the foreground.", _SYSTEM),
    "down": Entry("libs.cli.commands.system:down", "Stop what `kt up` started.", _SYSTEM),
    "status": Entry("libs.cli.commands.system:status", "Show what runs, and whether it is ready.", _SYSTEM),
    "reload": Entry("libs.cli.commands.system:reload", "Read the JWT keys anew, without a restart.", _SYSTEM),
    "doctor": Entry("libs.cli.commands.doctor:doctor", "Look for what is wrong, and say how to fix it.", _SYSTEM),
    "backup": Entry("libs.cli.commands.backup:backup", "Take, verify and restore backups.", _SYSTEM),
    "recover": Entry("libs.cli.commands.recover:recover", "Read one secret from a backup, offline.", _SYSTEM),
    "config-variables": Entry(
        "libs.cli.commands.config_variables:config_variables",
        "Store, rotate and delete keys. Short: `vars`.",
        _SECRETS,
    ),
    "git-tokens": Entry(
        "libs.cli.commands.git_tokens:git_tokens", "Git access tokens, for configs in repositories.", _SECRETS
    ),
    "legacy": Entry(
        "libs.cli.commands.legacy:legacy", "Keys of an earlier system: import, take over, count.", _SECRETS
    ),
    "keys": Entry("libs.cli.commands.keys:keys", "The encryption keys in use, and how to replace them.", _SECRETS),
    "token": Entry("libs.cli.commands.token:token", "Issue, list and revoke tokens.", _SECRETS),
    "gateway": Entry("libs.cli.commands.gateway:gateway", "Run, reload and watch gateways.", _GATEWAYS),
    "events": Entry("libs.cli.commands.events:events", "The audit log.", _GATEWAYS),
    "webhooks": Entry("libs.cli.commands.webhooks:webhooks", "Tell addresses of events, signed.", _GATEWAYS),
    "completion": Entry("libs.cli.commands.completion:completion", "Print a completion script for a shell.", _OTHER),
    "version": Entry("libs.cli.commands.version:version", "Print the version.", _OTHER),
}


@click.command(
    "kt",
    cls=LazyGroup,
    entries=ENTRIES,
    aliases=ALIASES,
    examples=(
        "kt up                                                 # start the system",
        'printf %s "$KEY" | kt vars create OPENAI_API_KEY      # store a key',
        "kt gateway run --policy-config policy-config.yaml     # serve requests with it",
        "kt events list --filter 'category=secret_management'  # see who did what",
    ),
)
def kt() -> None:
    """Keep the keys of AI providers: encrypted, rotated under traffic, audited.

    Run beside a home (.keeptrusts, made by `kt up`), kt finds address and token by itself.
    """

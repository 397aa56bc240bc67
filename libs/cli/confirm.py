"""Asking before something is destroyed, with what is known of who still needs it."""

from __future__ import annotations

import sys
from typing import Any

import click

from libs.cli.client import HttpClient
from libs.cli.terminal import clean, styled
from libs.common.errors import KtError


def confirm_deletion(client: HttpClient, name: str) -> None:
    """Ask at the terminal, naming the gateways that use the variable.

    Raises:
        KtError: ``usage`` where nobody can be asked.
        click.exceptions.Exit: with 1 when the answer is no.
    """
    if not sys.stdin.isatty():
        raise KtError(
            "usage",
            "Nothing was deleted, because nobody can be asked here; expected a terminal, or --yes.",
            "Deleting destroys the values of all versions; --yes does it without asking.",
        )
    for line in _users(client, name):
        click.echo(f"{styled('warning:', 'yellow', sys.stderr)} {line}", err=True)
    question = f"Delete {name} and destroy the values of all its versions?"
    if not click.confirm(question, default=False, err=True):
        click.echo("Nothing was deleted.", err=True)
        raise click.exceptions.Exit(1)


def _users(client: HttpClient, name: str) -> list[str]:
    """A line for each gateway that uses the variable; none when that can't be found out."""
    try:
        gateways: list[dict[str, Any]] = client.get("/v1/gateways").document["items"]
    except (KtError, KeyError, TypeError):
        return []
    lines = []
    for gateway in gateways:
        targets = [
            str(target.get("target"))
            for target in gateway.get("targets") or []
            if target.get("store") == "store" and target.get("reference") == name
        ]
        if targets:
            lines.append(clean(f"gateway {gateway.get('name')} uses it for {', '.join(targets)}"))
    return lines

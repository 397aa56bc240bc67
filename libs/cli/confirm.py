"""Asking before something is destroyed, with what is known of who still needs it."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

import click

from libs.cli.client import HttpClient
from libs.cli.requests import VARIABLES, SecretResource
from libs.cli.terminal import clean, styled
from libs.common.errors import KtError


def confirm_deletion(client: HttpClient, resource: SecretResource, name: str) -> None:
    """Ask at the terminal, naming the gateways that use a variable.

    Raises:
        KtError: ``usage`` where nobody can be asked.
        click.exceptions.Exit: with 1 when the answer is no.
    """
    _need_terminal("Deleting destroys the values of all versions; --yes does it without asking.")
    _ask(
        f"Delete {name} and destroy the values of all its versions?",
        _users(client, name) if resource is VARIABLES else [],
    )


def confirm_destruction(client: HttpClient, resource: SecretResource, name: str, version: int) -> None:
    """Ask before the value of one version is destroyed, naming the versions that hold the same value.

    Raises: as :func:`confirm_deletion`.
    """
    _need_terminal("Nothing brings a destroyed value back; --yes destroys it without asking.")
    copies = ", ".join(map(str, _copies(client, resource, name, version)))
    warnings = [f"the same value was rolled back to, and is also that of version {copies}"] if copies else []
    _ask(f"Destroy the value of {name} version {version}?", warnings)


def yes_or_no(question: str, hint: str) -> None:
    """Ask before something else is deleted. Raises: as :func:`confirm_deletion`."""
    _need_terminal(hint)
    _ask(question, [])


def _need_terminal(hint: str) -> None:
    if not sys.stdin.isatty():
        raise KtError(
            "usage", "Nothing was deleted, because nobody can be asked here; expected a terminal, or --yes.", hint
        )


def _ask(question: str, warnings: Iterable[str]) -> None:
    for line in warnings:
        click.echo(f"{styled('warning:', 'yellow', sys.stderr)} {line}", err=True)
    if not click.confirm(question, default=False, err=True):
        click.echo("Nothing was deleted.", err=True)
        raise click.exceptions.Exit(1)


def _copies(client: HttpClient, resource: SecretResource, name: str, version: int) -> list[int]:
    """Other versions whose value is still there and is that of ``version``, by way of rollbacks."""
    entries: list[dict[str, Any]] = client.get(resource.path(name, "/history")).document["items"]
    origin = {e["version"]: e.get("from_version") or e["version"] for e in entries if e.get("value_state")}
    for copy, source in sorted(origin.items()):
        origin[copy] = origin.get(source, source)
    there = {e["version"] for e in entries if e.get("value_state") in ("current", "kept")}
    same = origin.get(version, version)
    return sorted(copy for copy, source in origin.items() if source == same and copy != version and copy in there)


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

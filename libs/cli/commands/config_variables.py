"""``kt config-variables``: keys and other values, by name."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from libs.cli.answers import Answer
from libs.cli.base import KtGroup, pass_session
from libs.cli.confirm import confirm_deletion, confirm_destruction
from libs.cli.discovery import connect
from libs.cli.documents import json_page, print_json
from libs.cli.requests import (
    VARIABLES,
    idempotency_option,
    if_match_option,
    name_argument,
    pages,
    variable_path,
    write_headers,
)
from libs.cli.session import Session
from libs.cli.tables import Column, Table, print_details
from libs.cli.terminal import absolute, age, ago, clean, styled
from libs.cli.values import read_value, value_options
from libs.common.errors import KtError
from libs.common.secret import REDACTED


def _use_rotate(ctx: click.Context, _: click.Parameter, value: object) -> None:
    if value is not None:
        raise KtError("usage", f"`{ctx.command_path}` does not change the value.", "Use `kt vars rotate NAME`.")


@click.group("config-variables", cls=KtGroup)
def config_variables() -> None:
    """Store, rotate and delete keys and other values. `kt vars` is short for this.

    A value comes from a pipe, from --value-file, or from a hidden prompt; never from an argument, where the shell's
    history and the process list would keep it.
    """


@config_variables.command(
    examples=(
        "kt vars create OPENAI_API_KEY                      # asks for the value",
        'printf %s "$KEY" | kt vars create OPENAI_API_KEY   # takes it from a pipe',
        "kt vars create TLS_KEY --value-file tls.pem        # takes it from a file",
    ),
    takes_value=True,
)
@name_argument
@value_options
@click.option("-d", "--description", default="", metavar="TEXT", help="What it is for. Not secret.")
@click.option(
    "--sensitive/--no-sensitive",
    default=True,
    show_default=True,
    help="Whether its value is hidden for ever. It is stored encrypted either way.",
)
@idempotency_option
@pass_session
def create(
    session: Session,
    *,
    name: str,
    value_file: Path | None,
    description: str,
    sensitive: bool,
    idempotency_key: str | None,
) -> None:
    """Store a new value under a name.

    NAME: 1 to 128 ASCII letters, digits, underscores, hyphens and dots.
    """
    headers = write_headers(idempotency_key)
    value = read_value(value_file, f"Value of {name}")
    body = {"name": name, "value": value.reveal().decode(), "description": description, "sensitive": sensitive}
    _done(session, "created", connect(session).request("POST", VARIABLES, body=body, headers=headers))


@config_variables.command(
    "list", examples=("kt vars list --prefix OPENAI", "kt vars list -o json | jq -r '.items[].name'")
)
@click.option("--prefix", default="", metavar="TEXT", help="Only names that begin like this.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="At most N. Default: all.")
@pass_session
def list_(session: Session, prefix: str, limit: int | None) -> None:
    """List config variables by name. Values are not shown."""
    found = pages(connect(session), VARIABLES, {"prefix": prefix}, limit)
    if session.json:
        with json_page() as document:
            for page in found:
                document.next_cursor = page["next_cursor"]
                document.add(page["items"])
        return
    table = Table(
        Column("NAME"), Column("VERSION", right=True), Column("SENSITIVE"), Column("CHANGED"), Column("DESCRIPTION")
    )
    now, shown, more = datetime.now(UTC), 0, None
    for page in found:
        table.print([_row(item, now) for item in page["items"]])
        shown, more = shown + len(page["items"]), page["next_cursor"]
    if not shown:
        nothing = "No config variables here. `kt vars create NAME` stores one."
        click.echo("No config variable begins like this." if prefix else nothing, err=True)
    elif more:
        click.echo(f"The first {shown}; there are more.", err=True)


@config_variables.command()
@name_argument
@pass_session
def get(session: Session, name: str) -> None:
    """Show one config variable. The value of a sensitive one stays hidden."""
    answer = connect(session).get(variable_path(name))
    if session.json:
        print_json(_with_etag(answer))
        return
    found, now = answer.document, datetime.now(UTC)
    print_details(
        [
            ("NAME", found.get("name")),
            ("VERSION", found.get("version")),
            ("SENSITIVE", _yes_no(found.get("sensitive"))),
            ("VALUE", REDACTED if found.get("sensitive") else found.get("value", "")),
            ("DESCRIPTION", found.get("description", "")),
            ("CREATED", ago(found.get("created_at"), now)),
            ("CHANGED", ago(found.get("updated_at"), now)),
            ("ETAG", answer.etag),
        ]
    )


@config_variables.command(examples=('kt vars update OPENAI_API_KEY --description "OpenAI production key"',))
@name_argument
@click.option("-d", "--description", metavar="TEXT", help="What it is for. Not secret.")
@click.option("--sensitive/--no-sensitive", default=None, help="A sensitive variable stays sensitive.")
@if_match_option
@idempotency_option
@click.option("--value", "--value-file", "refused", hidden=True, expose_value=False, callback=_use_rotate)
@pass_session
def update(
    session: Session,
    *,
    name: str,
    description: str | None,
    sensitive: bool | None,
    if_match: str | None,
    idempotency_key: str | None,
) -> None:
    """Change description or sensitivity. `kt vars rotate` changes the value."""
    body: dict[str, Any] = {}
    if description is not None:
        body["description"] = description
    if sensitive is not None:
        body["sensitive"] = sensitive
    if not body:
        raise KtError(
            "usage",
            "Nothing to change was given; expected --description, --sensitive or --no-sensitive.",
            "`kt vars rotate NAME` gives it a new value.",
        )
    headers = write_headers(idempotency_key, if_match)
    _done(session, "updated", connect(session).request("PATCH", variable_path(name), body=body, headers=headers))


@config_variables.command(
    examples=(
        "kt vars rotate OPENAI_API_KEY                      # asks for the new value",
        'printf %s "$KEY" | kt vars rotate OPENAI_API_KEY   # takes it from a pipe',
    ),
    takes_value=True,
)
@name_argument
@value_options
@if_match_option
@idempotency_option
@pass_session
def rotate(
    session: Session, name: str, value_file: Path | None, if_match: str | None, idempotency_key: str | None
) -> None:
    """Give a variable a new value, as a new version.

    Gateways take it up at once, without a restart. The older values stay, for `rollback`.
    """
    headers = write_headers(idempotency_key, if_match)
    value = read_value(value_file, f"New value of {name}")
    body = {"value": value.reveal().decode()}
    path = variable_path(name, "/rotate")
    _done(session, "rotated", connect(session).request("POST", path, body=body, headers=headers))


@config_variables.command(examples=("kt vars rollback OPENAI_API_KEY --to 2",))
@name_argument
@click.option(
    "--to", "version", type=click.IntRange(min=1), required=True, metavar="VERSION", help="Whose value to bring back."
)
@if_match_option
@idempotency_option
@pass_session
def rollback(session: Session, name: str, version: int, if_match: str | None, idempotency_key: str | None) -> None:
    """Bring an older value back, as a new version.

    `kt vars history NAME` shows the versions there are.
    """
    headers = write_headers(idempotency_key, if_match)
    path = variable_path(name, "/rollback")
    _done(session, "rolled back", connect(session).request("POST", path, body={"version": version}, headers=headers))


_yes_option = click.option("-y", "--yes", is_flag=True, help="Do not ask. Needed where nobody can be asked.")


@config_variables.command(
    examples=("kt vars delete OPENAI_API_KEY_OLD --yes", "kt vars delete OPENAI_API_KEY --destroy-version 1"),
)
@name_argument
@click.option(
    "--destroy-version",
    "version",
    type=click.IntRange(min=1),
    metavar="VERSION",
    help="Delete nothing but the value of this older version; the same as `destroy --version`.",
)
@_yes_option
@if_match_option
@idempotency_option
@pass_session
def delete(
    session: Session,
    *,
    name: str,
    version: int | None,
    yes: bool,
    if_match: str | None,
    idempotency_key: str | None,
) -> None:
    """Delete a variable, and destroy the values of all its versions.

    What happened to it stays in the audit log.
    """
    headers = write_headers(idempotency_key, if_match)
    if version is not None:
        _destroy(session, name, version, headers, yes=yes)
        return
    client = connect(session)
    if not yes:
        confirm_deletion(client, name)
    client.request("DELETE", variable_path(name), headers=headers)
    if session.json:
        print_json({"name": name, "deleted": True})
    else:
        click.echo(f"{styled('deleted', 'green')} {name}; its values are destroyed")


@config_variables.command(examples=("kt vars destroy OPENAI_API_KEY --version 1",))
@name_argument
@click.option(
    "--version",
    type=click.IntRange(min=1),
    required=True,
    metavar="VERSION",
    help="Whose value to destroy; an older one.",
)
@_yes_option
@if_match_option
@idempotency_option
@pass_session
def destroy(
    session: Session, *, name: str, version: int, yes: bool, if_match: str | None, idempotency_key: str | None
) -> None:
    """Destroy the value of one older version. The variable and its other versions stay.

    Nothing brings the value back; `kt vars history NAME` shows which are left.
    """
    _destroy(session, name, version, write_headers(idempotency_key, if_match), yes=yes)


def _destroy(session: Session, name: str, version: int, headers: Mapping[str, str], *, yes: bool) -> None:
    client = connect(session)
    if not yes:
        confirm_destruction(client, name, version)
    client.request("DELETE", variable_path(name, f"/versions/{version}"), headers=headers)
    if session.json:
        print_json({"name": name, "version": version, "destroyed": True})
    else:
        click.echo(f"{styled('destroyed', 'green')} the value of {name} version {version}")


@config_variables.command()
@name_argument
@pass_session
def history(session: Session, name: str) -> None:
    """Show what happened to a variable, oldest first, also after it was deleted."""
    document = connect(session).get(variable_path(name, "/history")).document
    if session.json:
        print_json(document)
        return
    table = Table(
        Column("VERSION", right=True),
        Column("TIME"),
        Column("AGE", right=True),
        Column("ACTION"),
        Column("VALUE", style=lambda cell: "yellow" if cell == "destroyed" else ""),
        Column("ACTOR"),
    )
    now = datetime.now(UTC)
    table.print([_history_row(entry, now) for entry in document.get("items", [])])


def _row(item: Mapping[str, Any], now: datetime) -> list[object]:
    return [
        item.get("name"),
        item.get("version"),
        _yes_no(item.get("sensitive")),
        f"{age(item.get('updated_at'), now)} ago",
        item.get("description", ""),
    ]


def _history_row(entry: Mapping[str, Any], now: datetime) -> list[object]:
    action = str(entry.get("action", ""))
    if entry.get("from_version"):
        action = f"{action} (value of {entry['from_version']})"
    time, actor = entry.get("time"), entry.get("actor") or {}
    who = f"{actor.get('type', '')}/{actor.get('id', '')}"
    return [entry.get("version"), absolute(time), age(time, now), action, entry.get("value_state") or "", who]


def _done(session: Session, what: str, answer: Answer) -> None:
    """Tell of a change: its new version, or all of it as JSON."""
    if session.json:
        print_json(_with_etag(answer))
        return
    found = answer.document
    kind = "sensitive" if found.get("sensitive") else "not sensitive"
    before = " (carried out before, with the same key)" if answer.replayed else ""
    click.echo(
        f"{styled(what, 'green')} {clean(str(found.get('name')))}  version {found.get('version')}, {kind}{before}"
    )


def _with_etag(answer: Answer) -> dict[str, Any]:
    return {**answer.document, "etag": answer.etag}


def _yes_no(value: object) -> str:
    return "yes" if value else "no"

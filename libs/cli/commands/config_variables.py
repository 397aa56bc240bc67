"""``kt config-variables``: keys and other values, by name."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from libs.cli import secret_verbs
from libs.cli.answers import Answer
from libs.cli.base import KtGroup, pass_session
from libs.cli.discovery import connect
from libs.cli.documents import print_json
from libs.cli.requests import VARIABLES, idempotency_option, if_match_option, write_headers
from libs.cli.secret_verbs import use_rotate, with_etag, yes_option
from libs.cli.session import Session
from libs.cli.tables import Column, Table, print_details
from libs.cli.terminal import age, ago
from libs.cli.values import value_options
from libs.common.errors import KtError
from libs.common.secret import REDACTED


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
@VARIABLES.name_argument
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
    body = {"name": name, "description": description, "sensitive": sensitive}
    _done(session, "created", secret_verbs.create(session, VARIABLES, body, value_file, idempotency_key))


@config_variables.command(
    "list", examples=("kt vars list --prefix OPENAI", "kt vars list -o json | jq -r '.items[].name'")
)
@click.option("--prefix", default="", metavar="TEXT", help="Only names that begin like this.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="At most N. Default: all.")
@click.option("--legacy", is_flag=True, help="Only older plaintext rows that were not taken over yet.")
@pass_session
def list_(session: Session, prefix: str, limit: int | None, legacy: bool) -> None:
    """List config variables by name. Values are not shown."""
    columns = (
        Column("NAME"),
        Column("VERSION", right=True),
        Column("SENSITIVE"),
        Column("CHANGED"),
        Column("DESCRIPTION"),
    )
    query = {"prefix": prefix, "legacy": "true" if legacy else ""}
    secret_verbs.list_all(session, VARIABLES, Table(*columns), _row, query=query, limit=limit)


@config_variables.command()
@VARIABLES.name_argument
@pass_session
def get(session: Session, name: str) -> None:
    """Show one config variable. The value of a sensitive one stays hidden."""
    answer = connect(session).get(VARIABLES.path(name))
    if session.json:
        print_json(with_etag(answer))
        return
    found, now = answer.document, datetime.now(UTC)
    print_details(
        [
            ("NAME", found.get("name")),
            ("VERSION", _version(found)),
            ("SENSITIVE", _yes_no(found.get("sensitive"))),
            ("VALUE", REDACTED if found.get("sensitive") else found.get("value", "")),
            ("DESCRIPTION", found.get("description", "")),
            ("CREATED", ago(found.get("created_at"), now)),
            ("CHANGED", ago(found.get("updated_at"), now)),
            ("ETAG", answer.etag),
        ]
    )


@config_variables.command(examples=('kt vars update OPENAI_API_KEY --description "OpenAI production key"',))
@VARIABLES.name_argument
@click.option("-d", "--description", metavar="TEXT", help="What it is for. Not secret.")
@click.option("--sensitive/--no-sensitive", default=None, help="A sensitive variable stays sensitive.")
@if_match_option
@idempotency_option
@click.option("--value", "--value-file", "refused", hidden=True, expose_value=False, callback=use_rotate)
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
    _done(session, "updated", connect(session).request("PATCH", VARIABLES.path(name), body=body, headers=headers))


@config_variables.command(
    examples=(
        "kt vars rotate OPENAI_API_KEY                      # asks for the new value",
        'printf %s "$KEY" | kt vars rotate OPENAI_API_KEY   # takes it from a pipe',
    ),
    takes_value=True,
)
@VARIABLES.name_argument
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
    _done(session, "rotated", secret_verbs.rotate(session, VARIABLES, name, value_file, headers))


@config_variables.command(examples=("kt vars rollback OPENAI_API_KEY --to 2",))
@VARIABLES.name_argument
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
    _done(session, "rolled back", secret_verbs.roll_back(session, VARIABLES, name, version, headers))


@config_variables.command(
    examples=("kt vars delete OPENAI_API_KEY_OLD --yes", "kt vars delete OPENAI_API_KEY --destroy-version 1"),
)
@VARIABLES.name_argument
@click.option(
    "--destroy-version",
    "version",
    type=click.IntRange(min=1),
    metavar="VERSION",
    help="Delete nothing but the value of this older version; the same as `destroy --version`.",
)
@yes_option
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
        secret_verbs.destroy(session, VARIABLES, name, version, headers, yes=yes)
    else:
        secret_verbs.delete(session, VARIABLES, name, headers, yes=yes)


@config_variables.command(examples=("kt vars destroy OPENAI_API_KEY --version 1",))
@VARIABLES.name_argument
@click.option(
    "--version",
    type=click.IntRange(min=1),
    required=True,
    metavar="VERSION",
    help="Whose value to destroy; an older one.",
)
@yes_option
@if_match_option
@idempotency_option
@pass_session
def destroy(
    session: Session, *, name: str, version: int, yes: bool, if_match: str | None, idempotency_key: str | None
) -> None:
    """Destroy the value of one older version. The variable and its other versions stay.

    Nothing brings the value back; `kt vars history NAME` shows which are left.
    """
    headers = write_headers(idempotency_key, if_match)
    secret_verbs.destroy(session, VARIABLES, name, version, headers, yes=yes)


@config_variables.command()
@VARIABLES.name_argument
@pass_session
def history(session: Session, name: str) -> None:
    """Show what happened to a variable, oldest first, also after it was deleted."""
    secret_verbs.history(session, VARIABLES, name)


def _row(item: Mapping[str, Any], now: datetime) -> list[object]:
    return [
        item.get("name"),
        _version(item),
        _yes_no(item.get("sensitive")),
        f"{age(item['updated_at'], now)} ago" if item.get("updated_at") else "",
        item.get("description", ""),
    ]


def _version(item: Mapping[str, Any]) -> object:
    return "plaintext" if item.get("legacy") else item.get("version")


def _done(session: Session, what: str, answer: Answer) -> None:
    kind = "sensitive" if answer.document.get("sensitive") else "not sensitive"
    secret_verbs.told(session, what, answer, kind)


def _yes_no(value: object) -> str:
    return "yes" if value else "no"

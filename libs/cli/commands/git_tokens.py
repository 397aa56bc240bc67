"""``kt git-tokens``: tokens with which gateways read their configuration from repositories."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from libs.cli import secret_verbs
from libs.cli.base import KtGroup, pass_session
from libs.cli.discovery import connect
from libs.cli.documents import print_json
from libs.cli.requests import GIT_TOKENS, idempotency_option, if_match_option, write_headers
from libs.cli.secret_verbs import use_rotate, with_etag, yes_option
from libs.cli.session import Session
from libs.cli.tables import Column, Table, print_details
from libs.cli.terminal import age, ago
from libs.cli.values import value_options


@click.group("git-tokens", cls=KtGroup)
def git_tokens() -> None:
    """Store, rotate and delete Git access tokens.

    With one a gateway reads its config from a private repository (`kt gateway run --policy-config git+https://…`).
    The gateway's own token has to name it: `kt token issue --role gateway … --reference git_token/NAME`.
    """


@git_tokens.command(
    examples=(
        "kt git-tokens create CONFIG_REPO                          # asks for the token",
        'printf %s "$GIT_TOKEN" | kt git-tokens create CONFIG_REPO # takes it from a pipe',
    ),
    takes_value=True,
)
@GIT_TOKENS.name_argument
@value_options
@click.option("-d", "--description", default="", metavar="TEXT", help="What it is for. Not secret.")
@idempotency_option
@pass_session
def create(
    session: Session, name: str, value_file: Path | None, description: str, idempotency_key: str | None
) -> None:
    """Store a token under a name. It is never shown again.

    NAME: 1 to 128 ASCII letters, digits, underscores, hyphens and dots.
    """
    body = {"name": name, "description": description}
    secret_verbs.told(session, "created", secret_verbs.create(session, GIT_TOKENS, body, value_file, idempotency_key))


@git_tokens.command("list", examples=("kt git-tokens list", "kt git-tokens list -o json | jq -r '.items[].name'"))
@click.option("--prefix", default="", metavar="TEXT", help="Only names that begin like this.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="At most N. Default: all.")
@pass_session
def list_(session: Session, prefix: str, limit: int | None) -> None:
    """List Git access tokens by name."""
    table = Table(Column("NAME"), Column("VERSION", right=True), Column("CHANGED"), Column("DESCRIPTION"))
    secret_verbs.list_all(session, GIT_TOKENS, table, _row, query={"prefix": prefix}, limit=limit)


@git_tokens.command()
@GIT_TOKENS.name_argument
@pass_session
def get(session: Session, name: str) -> None:
    """Show what is known of one token. Its value stays hidden."""
    answer = connect(session).get(GIT_TOKENS.path(name))
    if session.json:
        print_json(with_etag(answer))
        return
    found, now = answer.document, datetime.now(UTC)
    print_details(
        [
            ("NAME", found.get("name")),
            ("VERSION", found.get("version")),
            ("DESCRIPTION", found.get("description", "")),
            ("CREATED", ago(found.get("created_at"), now)),
            ("CHANGED", ago(found.get("updated_at"), now)),
            ("ETAG", answer.etag),
        ]
    )


@git_tokens.command(examples=('kt git-tokens update CONFIG_REPO --description "Expires in March"',))
@GIT_TOKENS.name_argument
@click.option("-d", "--description", required=True, metavar="TEXT", help="What it is for. Not secret.")
@if_match_option
@idempotency_option
@click.option("--value", "--value-file", "refused", hidden=True, expose_value=False, callback=use_rotate)
@pass_session
def update(session: Session, name: str, description: str, if_match: str | None, idempotency_key: str | None) -> None:
    """Change the description. `kt git-tokens rotate` changes the value."""
    headers = write_headers(idempotency_key, if_match)
    body = {"description": description}
    answer = connect(session).request("PATCH", GIT_TOKENS.path(name), body=body, headers=headers)
    secret_verbs.told(session, "updated", answer)


@git_tokens.command(
    examples=('printf %s "$GIT_TOKEN" | kt git-tokens rotate CONFIG_REPO',),
    takes_value=True,
)
@GIT_TOKENS.name_argument
@value_options
@if_match_option
@idempotency_option
@pass_session
def rotate(
    session: Session, name: str, value_file: Path | None, if_match: str | None, idempotency_key: str | None
) -> None:
    """Give a token a new value, as a new version.

    Gateways take it for their next look at the repository, without a restart.
    """
    headers = write_headers(idempotency_key, if_match)
    secret_verbs.told(session, "rotated", secret_verbs.rotate(session, GIT_TOKENS, name, value_file, headers))


@git_tokens.command(examples=("kt git-tokens rollback CONFIG_REPO --to 2",))
@GIT_TOKENS.name_argument
@click.option(
    "--to", "version", type=click.IntRange(min=1), required=True, metavar="VERSION", help="Whose value to bring back."
)
@if_match_option
@idempotency_option
@pass_session
def rollback(session: Session, name: str, version: int, if_match: str | None, idempotency_key: str | None) -> None:
    """Bring an older value back, as a new version."""
    headers = write_headers(idempotency_key, if_match)
    secret_verbs.told(session, "rolled back", secret_verbs.roll_back(session, GIT_TOKENS, name, version, headers))


@git_tokens.command(examples=("kt git-tokens destroy CONFIG_REPO --version 1",))
@GIT_TOKENS.name_argument
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
    """Destroy the value of one older version. The token and its other versions stay."""
    headers = write_headers(idempotency_key, if_match)
    secret_verbs.destroy(session, GIT_TOKENS, name, version, headers, yes=yes)


@git_tokens.command(examples=("kt git-tokens delete CONFIG_REPO --yes",))
@GIT_TOKENS.name_argument
@yes_option
@if_match_option
@idempotency_option
@pass_session
def delete(session: Session, name: str, yes: bool, if_match: str | None, idempotency_key: str | None) -> None:
    """Delete a token, and destroy the values of all its versions.

    A gateway that follows a repository with it goes on with the config it has, and says so in its status.
    """
    secret_verbs.delete(session, GIT_TOKENS, name, write_headers(idempotency_key, if_match), yes=yes)


@git_tokens.command()
@GIT_TOKENS.name_argument
@pass_session
def history(session: Session, name: str) -> None:
    """Show what happened to a token, oldest first, also after it was deleted."""
    secret_verbs.history(session, GIT_TOKENS, name)


def _row(item: Mapping[str, Any], now: datetime) -> list[object]:
    return [
        item.get("name"),
        item.get("version"),
        f"{age(item.get('updated_at'), now)} ago",
        item.get("description", ""),
    ]

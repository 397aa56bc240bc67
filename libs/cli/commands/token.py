"""``kt token``: tokens for people, machines, gateways and their clients."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import click

from libs.cli.base import KtGroup, pass_session
from libs.cli.discovery import connect
from libs.cli.documents import json_page, print_json
from libs.cli.durations import Duration
from libs.cli.requests import pages, write_headers
from libs.cli.session import Session
from libs.cli.tables import Column, Table
from libs.cli.terminal import absolute, age, clean, styled
from libs.cli.token_ids import read_token_id
from libs.common.auth.scopes import CLIENT_ROLE, ROLES
from libs.common.errors import KtError
from libs.common.names import checked_identity

TOKENS: Final = "/v1/tokens"
_ROLES: Final = (*ROLES, CLIENT_ROLE)
_STATE_STYLES: Final = {"active": "green", "revoked": "red"}


def _identity(_: click.Context, __: click.Parameter, name: str | None) -> str | None:
    return None if name is None else checked_identity(name)


@click.group(cls=KtGroup)
def token() -> None:
    """Issue, list and revoke tokens of people, machines, gateways and their clients."""


@token.command(
    examples=(
        "kt token issue --role operator --name alice --ttl 8h > alice.token",
        "kt token issue --role machine --name batch-job --reference 'OPENAI_*'",
        "TOKEN=$(kt token issue --role client --name web-app --ttl 30d)",
    ),
)
@click.option(
    "--role",
    type=click.Choice(_ROLES),
    required=True,
    help="What it may do. A client may only send requests through gateways.",
)
@click.option("--name", required=True, callback=_identity, help="Who it is for.")
@click.option("--ttl", type=Duration(), default="90d", show_default=True, help="How long it is valid: 30m, 12h, 90d.")
@click.option(
    "--reference",
    "references",
    multiple=True,
    metavar="GLOB",
    help="Only these config variables (machine, gateway; repeatable). Default: all of them. git_token/NAME lets a "
    "gateway use a Git access token.",
)
@pass_session
def issue(session: Session, *, role: str, name: str, ttl: str, references: tuple[str, ...]) -> None:
    """Issue a token. It is printed on stdout, alone and once; it can't be shown again."""
    body: dict[str, object] = {"role": role, "name": name, "ttl": ttl}
    if references:
        body["references"] = list(references)
    document = connect(session).request("POST", TOKENS, body=body).document
    if session.json:
        print_json(document)
        return
    expires = absolute(document.get("expires_at"))
    click.echo(clean(f"{role} token for {name}, valid until {expires}, id {document.get('token_id')}"), err=True)
    click.echo(str(document.get("token", "")))


@token.command(
    "list",
    examples=(
        "kt token list --state active",
        "kt token list --state active --kid 2026a   # what a signing key still holds up",
        "kt token list --name ci-runner -o json",
    ),
)
@click.option("--name", callback=_identity, help="Only those of this name.")
@click.option("--role", type=click.Choice(_ROLES), help="Only those of this role.")
@click.option("--state", type=click.Choice(["active", "expired", "revoked"]), help="Only those in this state.")
@click.option("--kid", metavar="ID", help="Only those signed with the key of this id.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="At most N. Default: all.")
@pass_session
def list_(session: Session, /, *, limit: int | None, **conditions: str | None) -> None:
    """List tokens, newest first; never the tokens themselves."""
    query = {key: value for key, value in conditions.items() if value is not None}
    found = pages(connect(session), TOKENS, query, limit)
    if session.json:
        with json_page() as document:
            for page in found:
                document.next_cursor = page["next_cursor"]
                document.add(page["items"])
        return
    table = Table(
        Column("ID"),
        Column("ROLE"),
        Column("NAME"),
        Column("STATE", style=lambda cell: _STATE_STYLES.get(cell, "")),
        Column("ISSUED BY", optional=True),
        Column("ISSUED", optional=True),
        Column("EXPIRES"),
        Column("KID"),
    )
    now, shown, more = datetime.now(UTC), 0, None
    for page in found:
        table.print([_row(item, now) for item in page["items"]])
        shown, more = shown + len(page["items"]), page["next_cursor"]
    if not shown:
        click.echo("There is no such token." if query else "No token was issued yet.", err=True)
    elif more:
        click.echo(f"The first {shown}; there are more.", err=True)


@token.command(
    examples=(
        "kt token revoke 01a2078d-0810-7c91-b94a-2972a91e460c",
        "kt token revoke --name ci-runner              # every active token of that name",
        "kt token revoke --leaked-token leaked.token   # a file with the token itself; - reads it from a pipe",
    ),
)
@click.argument("token_id", required=False, metavar="[ID]")
@click.option("--name", callback=_identity, help="Every active token of this name.")
@click.option(
    "--leaked-token",
    type=click.Path(dir_okay=False, allow_dash=True, path_type=Path),
    metavar="FILE",
    help="The token in this file. Only its id is sent.",
)
@pass_session
def revoke(session: Session, *, token_id: str | None, name: str | None, leaked_token: Path | None) -> None:
    """Revoke tokens: they are refused everywhere within a second, for good.

    By ID (`kt token list`, or the `jti` of a token that was signed elsewhere), by name, or by the token itself. Doing
    it again changes nothing.
    """
    if sum(given is not None for given in (token_id, name, leaked_token)) != 1:
        raise KtError("usage", "Which token is not clear; expected one of ID, --name and --leaked-token.")
    found = read_token_id(leaked_token) if leaked_token is not None else token_id
    items = _revoked(session, {"name": name} if name is not None else {"id": found or ""})
    if session.json:
        print_json({"items": items})
        return
    for item in items:
        already = " (was revoked before)" if item.get("repeated") else ""
        click.echo(f"{styled('revoked', 'green')} {clean(_who(item))}{already}")
        if not item.get("issued_here"):
            click.echo("No token of this id was issued here; one that was signed elsewhere is refused now.", err=True)
    if not items:
        click.echo("No active token has this name.", err=True)


def _revoked(session: Session, which: Mapping[str, str]) -> list[dict[str, Any]]:
    client, items, more = connect(session), [], True
    while more:
        document = client.request("POST", f"{TOKENS}/revoke", body=which, headers=write_headers(None)).document
        items += document["items"]
        more = document["more"]
    return items


def _row(item: Mapping[str, Any], now: datetime) -> list[object]:
    issuer = item.get("issued_by") or {}
    return [
        item.get("id"),
        item.get("role") or "",
        item.get("name") or "",
        item.get("state"),
        f"{issuer['type']}/{issuer['id']}" if issuer else "",
        f"{age(item['issued_at'], now)} ago" if item.get("issued_at") else "",
        absolute(item["expires_at"]) if item.get("expires_at") else "",
        item.get("kid") or "",
    ]


def _who(item: Mapping[str, Any]) -> str:
    known = f"{item.get('role')} token of {item.get('name')}, " if item.get("issued_here") else ""
    return f"{known}id {item.get('id')}"

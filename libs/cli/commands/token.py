"""``kt token``: tokens for people, machines, gateways and their clients."""

from __future__ import annotations

import click

from libs.cli.base import KtGroup, pass_session
from libs.cli.discovery import connect
from libs.cli.documents import print_json
from libs.cli.durations import Duration
from libs.cli.session import Session
from libs.cli.terminal import absolute, clean
from libs.common.auth.scopes import CLIENT_ROLE, ROLES
from libs.common.names import checked_identity


@click.group(cls=KtGroup)
def token() -> None:
    """Issue tokens for people, machines, gateways and their clients."""


@token.command(
    examples=(
        "kt token issue --role operator --name alice --ttl 8h > alice.token",
        "kt token issue --role machine --name batch-job --reference 'OPENAI_*'",
        "TOKEN=$(kt token issue --role client --name web-app --ttl 30d)",
    ),
)
@click.option(
    "--role",
    type=click.Choice([*ROLES, CLIENT_ROLE]),
    required=True,
    help="What it may do. A client may only send requests through gateways.",
)
@click.option("--name", required=True, callback=lambda _, __, name: checked_identity(name), help="Who it is for.")
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
    document = connect(session).request("POST", "/v1/tokens", body=body).document
    if session.json:
        print_json(document)
        return
    expires = absolute(document.get("expires_at"))
    click.echo(clean(f"{role} token for {name}, valid until {expires}, id {document.get('token_id')}"), err=True)
    click.echo(str(document.get("token", "")))

"""``kt events retention``, ``kt events hold`` and ``kt events rebuild``: keeping the audit log."""

from __future__ import annotations

import click

from libs.cli.base import KtCommand, KtGroup, pass_session
from libs.cli.discovery import connect
from libs.cli.documents import print_json
from libs.cli.rebuilding import REBUILD, follow
from libs.cli.requests import idempotency_option, write_headers
from libs.cli.session import Session
from libs.cli.tables import Column, Table
from libs.cli.terminal import absolute
from libs.common.errors import KtError
from libs.common.names import checked_identity

RETENTION = "/v1/events/retention"
HOLDS = "/v1/events/holds"
_MOMENT = click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%SZ"])


@click.group(cls=KtGroup)
def retention() -> None:
    """How long entries are kept, and which months go when."""


@retention.command(examples=("kt events retention show",))
@pass_session
def show(session: Session) -> None:
    """Show how long entries are kept, and each month of the log with when it may go."""
    document = connect(session).get(RETENTION).document
    if session.json:
        print_json(document)
        return
    longer = document["policy_days"]
    policy = f" (a gateway's policy asks for {longer})" if longer else ""
    click.echo(f"Entries are kept for at least {max(document['days'], longer)} days{policy}.")
    table = Table(Column("MONTH"), Column("ENTRIES", right=True), Column("MAY GO"), Column("HELD BY"))
    table.print(
        [month["month"], f"{month['entries']:,}", absolute(month["goes_at"]), ", ".join(month["held_by"])]
        for month in document["months"]
    )


@retention.command("set", examples=("kt events retention set 730",))
@click.argument("days", type=click.IntRange(1, 36_500))
@click.option("--i-understand", is_flag=True, help="Needed for fewer than 365 days: most rules ask for a year.")
@idempotency_option
@pass_session
def set_(session: Session, *, days: int, i_understand: bool, idempotency_key: str | None) -> None:
    """Keep entries for at least DAYS. What is longer than before takes effect at once."""
    body = {"days": days, "i_understand": i_understand}
    connect(session).request("PUT", RETENTION, body=body, headers=write_headers(idempotency_key))
    click.echo(f"entries are kept for at least {days} days", err=True)


@click.group(cls=KtGroup)
def hold() -> None:
    """Legal holds: spans of the log that stay, however old they get."""


@hold.command(
    examples=(
        "kt events hold add case-17 --from 2026-01-01 --to 2026-04-01 --reason 'Inquiry 17'",
        "kt events hold add audit-2026 --from 2026-01-01 --reason 'Annual audit'",
    ),
)
@click.argument("name", callback=lambda _, __, name: checked_identity(name))
@click.option(
    "--from", "begins", type=_MOMENT, metavar="TIME", required=True, help="2026-01-01 or 2026-01-01T08:00:00Z."
)
@click.option(
    "--to",
    "ends",
    type=_MOMENT,
    metavar="TIME",
    help="As --from, without that moment. Left out, everything from --from on is held.",
)
@click.option("--reason", default="", help="Why; it is on record.")
@idempotency_option
@pass_session
def add(
    session: Session, *, name: str, begins: object, ends: object | None, reason: str, idempotency_key: str | None
) -> None:
    """Hold a span of the log. A month that it touches stays as a whole."""
    body: dict[str, object] = {"name": name, "begins": f"{begins:%Y-%m-%dT%H:%M:%SZ}", "reason": reason}
    if ends is not None:
        body["ends"] = f"{ends:%Y-%m-%dT%H:%M:%SZ}"
    connect(session).request("POST", HOLDS, body=body, headers=write_headers(idempotency_key))
    click.echo(f"held: {name}", err=True)


@hold.command("list", examples=("kt events hold list",))
@pass_session
def list_(session: Session) -> None:
    """List the holds."""
    document = connect(session).get(HOLDS).document
    if session.json:
        print_json(document)
        return
    if not document["items"]:
        click.echo("There are no holds.", err=True)
        return
    table = Table(Column("NAME"), Column("FROM"), Column("TO"), Column("ADDED"), Column("BY"), Column("REASON"))
    table.print(
        [
            item["name"],
            absolute(item["begins"]),
            absolute(item["ends"]) if item["ends"] else "(open)",
            absolute(item["added_at"]),
            item["added_by"],
            item["reason"],
        ]
        for item in document["items"]
    )


@hold.command(examples=("kt events hold remove case-17 --reason 'Inquiry 17 is closed'",))
@click.argument("name")
@click.option("--reason", default="", help="Why; it is on record.")
@idempotency_option
@pass_session
def remove(session: Session, *, name: str, reason: str, idempotency_key: str | None) -> None:
    """Remove a hold. What it alone kept goes at the next opportunity."""
    path = f"{HOLDS}/{checked_identity(name)}"
    connect(session).request("DELETE", path, query={"reason": reason}, headers=write_headers(idempotency_key))
    click.echo(f"no longer held: {name}", err=True)


@click.command(cls=KtCommand, examples=("kt events rebuild", "kt events rebuild --no-wait"))
@click.option("--no-wait", is_flag=True, help="Only ask for it; `kt events rebuild` again shows how far it is.")
@idempotency_option
@pass_session
def rebuild(session: Session, *, no_wait: bool, idempotency_key: str | None) -> None:
    """Make the audit log anew from the streams.

    The new one takes the place of the old one if it reproduces what was signed of it; if not, nothing changes.
    Queries go on meanwhile.
    """
    client = connect(session)
    found = client.request("POST", REBUILD, headers=write_headers(idempotency_key)).document
    if not no_wait:
        found = follow(client, found)
    if session.json:
        print_json(found)
    elif no_wait:
        click.echo(f"{found['phase']}: {found['replayed']:,} of {found['total']:,} entries", err=True)
    if found["phase"] == "failed":
        raise KtError("log_damaged", found["detail"], "`kt events verify` names what was changed.")
    if found["phase"] == "completed" and not session.json:
        click.echo(f"rebuilt: {found['replayed']:,} entries")
        for tree in found["trees"]:
            click.echo(f"reproduced: {tree['stream']}, {tree['size']:,} entries, root {tree['root']}")

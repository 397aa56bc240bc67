"""``kt keys``: the encryption keys, by fingerprint."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import Any

import click

from libs.cli import key_rotation
from libs.cli.base import KtGroup, pass_session
from libs.cli.discovery import connect
from libs.cli.documents import print_json
from libs.cli.requests import idempotency_option, write_headers
from libs.cli.session import Session
from libs.cli.tables import Column, Table, print_details
from libs.cli.terminal import age, clean, styled
from libs.common.errors import Exit, KtError

KEYS = "/v1/encryption-keys"


@click.group(cls=KtGroup)
def keys() -> None:
    """The encryption keys in use, and how to replace them."""


@keys.command()
@pass_session
def status(session: Session) -> None:
    """Show the keys, what wraps them, how many values each protects, and what that means.

    Says whether the previous master key can be removed, or what still needs it, and lists what is damaged. Keys are
    named by fingerprint and id; key material is never shown.
    """
    document = connect(session).get(KEYS).document
    if session.json:
        print_json(document)
        return
    details = [("MASTER KEY", document.get("master_fingerprint", ""))]
    if document.get("previous_fingerprint"):
        details.append(("PREVIOUS", document["previous_fingerprint"]))
    print_details(details)
    print()
    now = datetime.now(UTC)
    table = Table(
        Column("KEY"),
        Column("PURPOSE"),
        Column("ALGORITHM", optional=True),
        Column("WRAPPED BY"),
        Column("VALUES", right=True),
        Column("AGE", right=True),
        Column("STATE", style=lambda cell: "red" if cell in {"damaged", "foreign"} else ""),
    )
    table.print(
        [
            entry.get("id"),
            entry.get("purpose"),
            entry.get("algorithm"),
            entry.get("master_fingerprint"),
            entry.get("sealed_values", 0),
            age(entry.get("created_at"), now),
            entry.get("state", ""),
        ]
        for entry in document.get("entries", [])
    )
    _print_damaged(document.get("damaged", []))
    if document.get("summary"):
        print()
    for sentence in document.get("summary", []):
        print(clean(str(sentence)))


@keys.command(
    examples=(
        "kt keys rotate --dry-run          # what would be done",
        "kt keys rotate --deep             # new keys below the master key; can be left and joined again",
        "kt keys rotate --deep --no-wait",
    ),
)
@click.option("--deep", is_flag=True, help="Replace the keys below the master key, and wrap every data key anew.")
@click.option("--dry-run", is_flag=True, help="Say what would be done, and change nothing.")
@click.option("--wait/--no-wait", default=True, help="Show how far it is until it is completed. Default: wait.")
@idempotency_option
@pass_session
def rotate(session: Session, *, deep: bool, dry_run: bool, wait: bool, idempotency_key: str | None) -> int:
    """Say how the master key is changed, or change the keys below it (--deep).

    A deep rotation goes on without this command: Ctrl-C leaves it, the same command joins it again. Exits with 1 when
    it met values that are damaged; `kt keys status` names them.
    """
    client = connect(session)
    if dry_run or not deep:
        found = key_rotation.plan(client.get(KEYS).document)
        _print_plan(session, found, deep=deep, dry_run=dry_run)
        return Exit.OK
    headers = write_headers(idempotency_key)
    started = client.request("POST", key_rotation.ROTATIONS, headers=headers).document
    try:
        rotation = key_rotation.follow(client, started) if wait else started
    except KeyboardInterrupt:
        click.echo(
            "It goes on. `kt keys rotate --deep` joins it again; `kt keys status` shows how far it is.", err=True
        )
        raise
    if session.json:
        print_json(rotation)
    elif rotation["state"] == "completed":
        for line in key_rotation.outcome(rotation):
            click.echo(clean(line))
    else:
        click.echo(clean(f"deep rotation {rotation['id']} is running; `kt keys status` shows how far it is"))
    if rotation["damaged"]:
        damaged = clean(f"{rotation['damaged']} values are damaged; `kt keys status` names them.")
        click.echo(f"{styled('warning:', 'yellow', sys.stderr)} {damaged}", err=True)
        return Exit.FAILED
    return Exit.OK


def _print_plan(session: Session, found: dict[str, Any], *, deep: bool, dry_run: bool) -> None:
    if session.json:
        if not dry_run:
            raise _nothing_done()
        print_json(found)
        return
    if not deep:
        for line in key_rotation.master_steps(found):
            print(clean(line))
        print()
    for line in key_rotation.deep_steps(found):
        print(clean(line))
    if not dry_run:
        raise _nothing_done()
    click.echo("Nothing was changed.", err=True)


def _nothing_done() -> KtError:
    """A script must not take an explanation for a rotation."""
    return KtError(
        "usage",
        "Nothing was changed: a restart changes the master key, --deep the keys below it.",
        "--dry-run says what either would do.",
    )


def _print_damaged(damaged: list[dict[str, Any]]) -> None:
    if damaged:
        print()
        table = Table(Column("DAMAGED"), Column("KIND"), Column("WHY", style=lambda _: "red"), Column("SEALED VALUE"))
        table.print([d.get("name"), d.get("kind"), d.get("why"), d.get("sealed_id")] for d in damaged)

"""``kt keys``: the encryption keys, by fingerprint."""

from __future__ import annotations

from datetime import UTC, datetime

import click

from libs.cli.base import KtGroup, pass_session
from libs.cli.discovery import connect
from libs.cli.documents import print_json
from libs.cli.session import Session
from libs.cli.tables import Column, Table, print_details
from libs.cli.terminal import age


@click.group(cls=KtGroup)
def keys() -> None:
    """The encryption keys in use."""


@keys.command()
@pass_session
def status(session: Session) -> None:
    """Show the keys, what wraps them, and how many values each protects.

    Keys are named by fingerprint and id; key material is never shown.
    """
    document = connect(session).get("/v1/encryption-keys").document
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
        Column("ALGORITHM"),
        Column("WRAPPED BY"),
        Column("VALUES", right=True),
        Column("AGE", right=True),
    )
    table.print(
        [
            entry.get("id"),
            entry.get("purpose"),
            entry.get("algorithm"),
            entry.get("master_fingerprint"),
            entry.get("sealed_values", 0),
            age(entry.get("created_at"), now),
        ]
        for entry in document.get("entries", document.get("items", []))
    )

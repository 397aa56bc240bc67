"""``kt legacy``: rows of the earlier system."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict

import click

from libs.cli.base import KtGroup, pass_session
from libs.cli.client import HttpClient
from libs.cli.discovery import connect
from libs.cli.documents import print_json
from libs.cli.older_rows import OlderRows, names_left, older_rows
from libs.cli.outcomes import Outcome, Outcomes, report_outcomes
from libs.cli.progress import Progress
from libs.cli.requests import VARIABLES, write_headers
from libs.cli.session import Session
from libs.cli.tables import Column, Table, print_details
from libs.common.errors import Exit, KtError
from libs.common.names import checked_variable_name


@click.group(cls=KtGroup)
def legacy() -> None:
    """Older plaintext rows: what is left of them, and how to be done with it.

    Rows of the table that KEEPTRUSTS_LEGACY_POSTGRES_DSN leads to are used where they lie, and encrypted with their
    first change. Nothing here has to be run for that.
    """


@legacy.command()
@pass_session
def status(session: Session) -> None:
    """Count the rows that are left, and name those that can't be used."""
    rows = older_rows(connect(session))
    if session.json:
        print_json({"configured": False} if rows is None else {"configured": True, **asdict(rows)})
    elif rows is None:
        click.echo("No table of older plaintext rows is configured.", err=True)
    else:
        _print(rows)


@legacy.command(examples=("kt legacy migrate OPENAI_API_KEY", "kt legacy migrate --all --yes"))
@click.argument("names", nargs=-1)
@click.option("--all", "every", is_flag=True, help="All rows that can be taken over.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask. Needed where nobody can be asked.")
@pass_session
def migrate(session: Session, names: Sequence[str], every: bool, yes: bool) -> int:
    """Encrypt rows now, without changing anything else of them, and delete them from their table.

    NAMES: of the rows, as `kt vars list` shows them. Exits with 1 when one of them could not be taken over.
    """
    if bool(names) == every:
        raise KtError("usage", "Which rows are meant is not clear; expected NAMES or --all.")
    client = connect(session)
    wanted = list(names_left(client)) if every else list(dict.fromkeys(map(checked_variable_name, names)))
    if wanted and not yes:
        _confirm(len(wanted))
    outcomes = Outcomes(("taken over",))
    with Progress("taking over") as progress:
        for number, name in enumerate(wanted, 1):
            progress.step(f"taking over {number} of {len(wanted)}")
            outcomes.add(_take_over(client, name))
    report_outcomes(session, outcomes, nothing="No older plaintext row is left that could be taken over.")
    return Exit.FAILED if outcomes.failed else Exit.OK


def _take_over(client: HttpClient, name: str) -> Outcome:
    try:
        client.request("POST", VARIABLES.path(name, "/take-over"), headers=write_headers(None))
    except KtError as error:
        if error.kind.exit in (Exit.UNREACHABLE, Exit.DENIED):
            raise
        return Outcome.of_failure(name, error)
    return Outcome(name, "taken over")


def _confirm(count: int) -> None:
    if not sys.stdin.isatty():
        raise KtError(
            "usage",
            "Nothing was changed, because nobody can be asked here; expected a terminal, or --yes.",
            "Rows that are taken over are deleted from their table; --yes does it without asking.",
        )
    rows = "1 row" if count == 1 else f"{count} rows"
    if not click.confirm(f"Encrypt {rows} and delete them from their table?", default=False, err=True):
        click.echo("Nothing was changed.", err=True)
        raise click.exceptions.Exit(1)


def _print(rows: OlderRows) -> None:
    print_details(
        [
            ("TABLE", rows.table),
            ("LEFT", f"{rows.left} to be taken over with their next change, or by `kt legacy migrate`"),
            ("NOT USABLE", rows.unusable),
            ("HIDDEN", f"{rows.hidden} behind config variables of the same name; delete them from the table"),
            ("WAITING", f"{rows.waiting} taken over, still to be deleted"),
        ]
    )
    if not rows.may_delete:
        click.echo("The role of the connection may not delete rows of this table; plaintext stays in it.", err=True)
    if rows.named:
        print()
        Table(Column("ROW"), Column("PROBLEM")).print([row["name"], row["problem"]] for row in rows.named)
    if rows.unusable > len(rows.named):
        click.echo(f"… and {rows.unusable - len(rows.named)} more.", err=True)

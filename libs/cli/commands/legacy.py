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
from libs.cli.importing.found import Found
from libs.cli.importing.importer import ENDINGS, PLANNED, Importer, OnConflict, planner
from libs.cli.importing.source import FORMATS, POSTGRESQL, Source, read_address, read_file
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


@legacy.command(
    "import",
    examples=(
        "kt legacy import secrets.csv --dry-run",
        "kt legacy import .env --on-conflict skip",
        "kt legacy import postgresql://app@db.example.com/app --ask-password",
        "kt legacy import database-url.txt --format postgresql",
        "vault-dump | kt legacy import - --format csv",
    ),
)
@click.argument("source", metavar="FILE|-|postgresql://...")
@click.option(
    "--format", "kind", type=click.Choice(FORMATS), metavar="|".join(FORMATS), help="Else told by the name."
)
@click.option("--table", default="config_variables", show_default=True, metavar="TABLE", help="Of a database.")
@click.option("--ask-password", is_flag=True, help="Ask for the password of the database.")
@click.option(
    "--on-conflict",
    type=click.Choice(["fail", "skip", "rotate"]),
    metavar="fail|skip|rotate",
    default="fail",
    show_default=True,
    help="When a variable of that name has another value.",
)
@click.option(
    "--sensitive/--no-sensitive", default=True, show_default=True, help="For rows that do not say whether they are."
)
@click.option(
    "--dry-run", is_flag=True, help="Check the rows and names, and say what would be done. Values are not sent."
)
@pass_session
def import_(
    session: Session,
    *,
    source: str,
    kind: str | None,
    table: str,
    ask_password: bool,
    on_conflict: OnConflict,
    sensitive: bool,
    dry_run: bool,
) -> int:
    """Load variables from a CSV or dotenv file, or from a table in PostgreSQL.

    CSV has a header with name and value, and if wanted description and sensitive. Values are read as they stand;
    nothing in them is expanded. A table is read at a URL without its password, or with --format postgresql at the
    whole URL that a file holds. The source stays as it is.

    An import that is repeated, or goes on after it was stopped, changes nothing that is done. Exits with 1 when a row
    failed; the others are imported.
    """
    given = Source.of(source, kind)
    rows = (
        _table_rows(given, table, sensitive=sensitive, ask_password=ask_password)
        if given.kind == POSTGRESQL
        else read_file(given, sensitive=sensitive)
    )
    client = connect(session)
    take = planner(client, on_conflict) if dry_run else Importer(client, on_conflict).take
    outcomes = Outcomes(PLANNED if dry_run else ENDINGS)
    try:
        with Progress("importing") as progress:
            for number, row in enumerate(rows, 1):
                progress.step(f"importing {number} of {len(rows)}")
                outcomes.add(take(row))
    finally:
        report_outcomes(session, outcomes, nothing="There is no row in it.")
    return Exit.FAILED if outcomes.failed else Exit.OK


def _table_rows(source: Source, table: str, *, sensitive: bool, ask_password: bool) -> Sequence[Found]:
    from libs.cli.importing.table import table_rows  # noqa: PLC0415  help must not wait for the driver

    return table_rows(read_address(source), table, sensitive=sensitive, ask_password=ask_password)


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

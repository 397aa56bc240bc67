"""``kt events export``: the audit log for those who don't trust the system it comes from."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import click

from libs.cli.base import KtCommand, pass_session
from libs.cli.session import Session

# Reading manifests takes libraries that are slow to import: each command imports what it needs.

MOMENT: Final = click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%SZ"])


@click.command(
    cls=KtCommand,
    examples=(
        "kt events export --from 2026-01-01 --to 2026-02-01 --out january",
        "kt events export --filter 'resource=OPENAI_API_KEY' --format csv --out openai",
    ),
)
@click.option("--from", "begins", type=MOMENT, metavar="TIME", help="Recorded at this time (UTC) or later.")
@click.option("--to", "ends", type=MOMENT, metavar="TIME", help="Recorded before this time.")
@click.option(
    "--format",
    "format_",
    type=click.Choice(["ndjson", "ocsf", "csv", "parquet"]),
    default="ndjson",
    show_default=True,
    help="ndjson is the stored bytes, and the evidence; the others are made from them.",
)
@click.option("--filter", "filter_", default="", metavar="FILTER", help="Only these, each with a proof of its own.")
@click.option(
    "--out",
    "directory",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    metavar="DIRECTORY",
    help="A new or empty one, or an unfinished export to go on with.",
)
@pass_session
def export(session: Session, *, begins: Any, ends: Any, format_: str, filter_: str, directory: Path) -> None:
    """Export the log with its proofs and a signed manifest. Needs the scope events:export.

    Stopped, the same command goes on where it was. `kt events verify DIRECTORY` checks the export without a system.
    """
    from libs.cli.export_runs import fetch  # noqa: PLC0415

    query = {
        "format": format_,
        "filter": filter_,
        "from": f"{begins:%Y-%m-%dT%H:%M:%SZ}" if begins else "",
        "to": f"{ends:%Y-%m-%dT%H:%M:%SZ}" if ends else "",
    }
    fetch(session, directory, query)

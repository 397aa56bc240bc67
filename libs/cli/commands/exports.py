"""``kt events export`` and ``report``: the audit log for those who don't trust the system it comes from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import click

from libs.cli.base import KtCommand, KtGroup, pass_session
from libs.cli.commands.proofs import keys_option, stream_option
from libs.cli.session import Session

# Reading manifests takes libraries that are slow to import: each command imports what it needs.

MOMENT: Final = click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%SZ"])

from_option = click.option(
    "--from", "begins", type=MOMENT, metavar="TIME", help="Recorded at this time (UTC) or later."
)
to_option = click.option("--to", "ends", type=MOMENT, metavar="TIME", help="Recorded before this time.")
out_option = click.option(
    "--out",
    "directory",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    metavar="DIRECTORY",
    help="A new or empty one, or an unfinished one of the same to go on with.",
)


@click.command(
    cls=KtCommand,
    examples=(
        "kt events export --from 2026-01-01 --to 2026-02-01 --out january",
        "kt events export --filter 'resource=OPENAI_API_KEY' --format csv --out openai",
    ),
)
@from_option
@to_option
@stream_option
@click.option(
    "--format",
    "format_",
    type=click.Choice(["ndjson", "ocsf", "csv", "parquet"]),
    default="ndjson",
    show_default=True,
    help="ndjson is the stored bytes, and the evidence; the others are made from them.",
)
@click.option("--filter", "filter_", default="", metavar="FILTER", help="Only these, each with a proof of its own.")
@out_option
@pass_session
def export(
    session: Session,
    *,
    begins: Any,
    ends: Any,
    stream: str | None,
    format_: str,
    filter_: str,
    directory: Path,
) -> None:
    """Export the log with its proofs and a signed manifest. Needs the scope events:export.

    Stopped, the same command goes on where it was. `kt events verify DIRECTORY` checks the export without a system.
    """
    from libs.cli.export_runs import fetch  # noqa: PLC0415

    query = {
        "format": format_,
        "filter": filter_,
        "stream": stream or "",
        "from": _text(begins),
        "to": _text(ends),
    }
    fetch(session, directory, query)


@click.group(cls=KtGroup)
def report() -> None:
    """Reports for auditors, made from the log and traceable to it."""


@report.command(
    "soc2-cc6", examples=("kt events report soc2-cc6 --from 2026-01-01 --to 2026-04-01 --key keys.txt --out q1",)
)
@from_option
@to_option
@keys_option
@out_option
@pass_session
def soc2_cc6(session: Session, *, begins: Any, ends: Any, keys: Sequence[str], directory: Path) -> None:
    """Logical access (SOC 2, CC6): who had access, who changed what, how old keys are, what failed, and that the log
    is complete. A page, CSV files, and the evidence they were made from."""
    from libs.cli.soc2.making import make  # noqa: PLC0415

    make(session, directory, _text(begins), _text(ends), keys)


def _text(moment: Any) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}" if moment else ""

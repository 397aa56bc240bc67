"""``kt recover``: a secret out of a backup, with nothing but the master key."""

from __future__ import annotations

from pathlib import Path

import click

from libs.cli.base import KtCommand, pass_session
from libs.cli.session import Session
from libs.common.errors import KtError


@click.command(
    cls=KtCommand,
    examples=(
        "kt recover backup-2026-11-23.tar --list",
        "kt recover backup-2026-11-23.tar OPENAI_API_KEY > key",
        "kt recover backup-2026-11-23.tar OPENAI_API_KEY --version 2 --show",
    ),
)
@click.argument("archive", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE")
@click.argument("name", required=False)
@click.option("--list", "listed", is_flag=True, help="Show what is in the archive. Needs no master key.")
@click.option("--version", type=click.IntRange(min=1), metavar="VERSION", help="Default: the newest.")
@click.option("--org", default="default", show_default=True, metavar="ORG", help="Whose secret it is.")
@click.option(
    "--kind", default="config_variable", show_default=True, metavar="KIND", help="What kind of secret it is."
)
@click.option("--show", is_flag=True, help="Write the value to the screen, too.")
@click.option(
    "--master-key-file",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="PATH",
    help="Holds the master key; else KEEPTRUSTS_SECRET_ENCRYPTION_KEY (and …_PREVIOUS), else it is asked for.",
)
@pass_session
def recover(
    session: Session,
    *,
    archive: Path,
    name: str | None,
    listed: bool,
    version: int | None,
    org: str,
    kind: str,
    show: bool,
    master_key_file: Path | None,
) -> None:
    """Read one secret from a backup, with the master key alone.

    Nothing has to run, and nothing is changed. A damaged archive is read as far as it can be; a value is only shown
    when its own encryption proves that it is unchanged.
    """
    from libs.cli import recovering  # noqa: PLC0415

    if listed:
        recovering.show_list(session, archive)
        return
    if name is None:
        raise KtError("usage", "No name was given; expected the NAME of a secret, or --list.")
    wanted = recovering.Wanted(org, kind, name, version)
    recovering.show_value(session, archive, wanted, master_key_file, show=show)

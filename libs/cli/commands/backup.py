"""``kt backup``: one archive of everything that has to survive."""

from __future__ import annotations

from pathlib import Path

import click

from libs.cli.base import KtGroup, pass_session
from libs.cli.session import Session
from libs.common.errors import KtError

# The engines take long to import, and help must not wait for them: each command imports what it needs.

_archive = click.argument("archive", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE")
_directory = click.Path(path_type=Path, file_okay=False)
_master_key = click.option(
    "--master-key-file",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="PATH",
    help="Holds the master key, to tell whether the archive was changed; else KEEPTRUSTS_SECRET_ENCRYPTION_KEY.",
)


@click.group(cls=KtGroup)
def backup() -> None:
    """Archives of the streams and the sealed store, without the master key.

    An archive can be restored on another machine. Whoever has it and the master key can read every secret in it;
    whoever has only one of them, none.
    """


@backup.command(examples=("kt backup create backup-2026-11-23.tar",))
@_archive
@pass_session
def create(session: Session, archive: Path) -> None:
    """Take a backup of the running system, while it goes on.

    It is in the audit log before the file is there. Runs beside the home of the system. Of engines that run
    elsewhere, with KEEPTRUSTS_NATS_URL, KEEPTRUSTS_NATS_CREDS (those of the identity backup) and
    KEEPTRUSTS_POSTGRES_DSN (of the role kt_backup).
    """
    from libs.cli import backing_up  # noqa: PLC0415

    backing_up.take(session, archive)


@backup.command(examples=("kt backup verify backup-2026-11-23.tar", "kt backup verify backup-2026-11-23.tar --trial"))
@_archive
@click.option("--trial", is_flag=True, help="Also restore it, compare everything, and remove that again.")
@_master_key
@pass_session
def verify(session: Session, archive: Path, *, trial: bool, master_key_file: Path | None) -> None:
    """Check every byte of an archive, and say what is in it and which master key it needs.

    With the master key it also tells whether the archive is as the system made it. Needs no running system.
    """
    from libs.cli import backing_up  # noqa: PLC0415

    backing_up.check(session, archive, master_key_file, trial=trial)


@backup.command(examples=("kt backup restore backup-2026-11-23.tar --into ./restored",))
@_archive
@click.option("--into", type=_directory, metavar="HOME", help="A directory that is empty or does not exist.")
@click.option(
    "--into-engines",
    "passwords",
    type=_directory,
    metavar="DIRECTORY",
    help="Restore into engines that run elsewhere; the directory and the environment are those of provisioning.",
)
@_master_key
@pass_session
def restore(
    session: Session,
    archive: Path,
    *,
    into: Path | None,
    passwords: Path | None,
    master_key_file: Path | None,
) -> None:
    """Put a backup back into a new home, which then starts with `kt up` and the master key.

    Nothing is ever overwritten. A restore that was interrupted leaves a home that does not start; the same command
    begins anew.
    """
    from libs.cli import backing_up  # noqa: PLC0415

    if (into is None) == (passwords is None):
        raise KtError("usage", "Where to is not clear; expected --into HOME, or --into-engines DIRECTORY.")
    if into is not None:
        backing_up.put_back(session, archive, into, master_key_file)
    elif passwords is not None:
        backing_up.put_back_elsewhere(session, archive, passwords, master_key_file)

"""``kt doctor``."""

from __future__ import annotations

import click

from libs.cli.base import KtCommand, pass_session
from libs.cli.session import Session


@click.command(cls=KtCommand)
@pass_session
def doctor(session: Session) -> int:
    """Check this machine, the home, the running system and the token, and say how to fix what is wrong.

    Exits with 1 when something is.
    """
    from libs.cli import examination  # noqa: PLC0415  the engines take long to import, and help must not wait

    return examination.run(session)

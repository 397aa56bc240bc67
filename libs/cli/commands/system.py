"""``kt up``, ``kt down``, ``kt status``, ``kt reload``: the system of one home."""

from __future__ import annotations

import os

import click

from libs.cli.base import KtCommand, pass_session
from libs.cli.documents import print_json
from libs.cli.session import Session

# The engines take long to import, and help must not wait for them: each command imports what it needs.


@click.command(cls=KtCommand, examples=("kt up", "kt up --detach && kt status", "KEEPTRUSTS_API_PORT=0 kt up"))
@click.option("-d", "--detach", is_flag=True, help="Return when it is ready, and leave it running.")
@pass_session
def up(session: Session, *, detach: bool) -> None:
    """Start the engines and services of this home, watch over them, and stay in the foreground.

    Ctrl-C stops everything in order. The first start makes the master key, the first admin token and the databases.
    KEEPTRUSTS_API_PORT (8080; 0 picks a free one) and KEEPTRUSTS_API_HOST say where the API listens.
    """
    from libs.cli import starting  # noqa: PLC0415

    if not detach:
        starting.in_foreground(session.home, as_json=session.json)
        return
    url = starting.detached(session.home)
    if session.json:
        print_json({"ready": True, "api_url": url})
    else:
        click.echo(f"ready {url}")


@click.command(cls=KtCommand)
@pass_session
def down(session: Session) -> None:
    """Stop what runs from this home, in order. Nothing that was stored is lost."""
    from libs.cli import running  # noqa: PLC0415

    running.stop(session.home)
    if session.json:
        print_json({"stopped": True, "home": str(session.home)})
    else:
        click.echo("stopped")


@click.command(cls=KtCommand)
@pass_session
def status(session: Session) -> int:
    """Show what runs, and whether it is ready; exit with 6 when it is not.

    With an address (--api-url, KEEPTRUSTS_API_URL), ask the API there; else look at the processes of this home.
    """
    from libs.cli import running  # noqa: PLC0415

    if session.api_url or (os.environ.get("KEEPTRUSTS_API_URL") and session.home_option is None):
        return running.show_remote(session)
    return running.show_home(session)


@click.command(cls=KtCommand, examples=("kt reload",))
@pass_session
def reload(session: Session) -> None:
    """Make the system of this home read its JWT keys anew, without a restart.

    The keys come from the home's jwt.keys, or from the file that KEEPTRUSTS_JWT_VERIFICATION_KEYS_FILE named at the
    start. Keys that can't be used are refused as a whole, and the ones before stay in force.
    """
    from libs.cli import reloading  # noqa: PLC0415

    reloading.reload_keys(session)

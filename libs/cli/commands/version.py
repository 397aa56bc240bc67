"""``kt version``."""

from __future__ import annotations

import platform
import tomllib
from importlib import metadata
from pathlib import Path

import click

from libs.cli.base import KtCommand, pass_session
from libs.cli.documents import print_json
from libs.cli.session import Session


@click.command(cls=KtCommand)
@pass_session
def version(session: Session) -> None:
    """Print the version of kt and of the Python it runs on."""
    found, python = installed_version(), platform.python_version()
    if session.json:
        print_json({"version": found, "python": python})
    else:
        click.echo(f"kt {found} (Python {python})")


def installed_version() -> str:
    """The version of the installed distribution, or of the source tree this runs from."""
    try:
        return metadata.version("keeptrusts")
    except metadata.PackageNotFoundError:
        project = Path(__file__).parents[3] / "pyproject.toml"
        with project.open("rb") as file:
            return str(tomllib.load(file)["project"]["version"])

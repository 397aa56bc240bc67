"""Provisioning: streams, database, roles, schemas, migrations. Safe to repeat, on embedded and on external engines.

``python -m libs.engines.provision DIRECTORY`` provisions engines that somebody else runs. It reads
``KEEPTRUSTS_NATS_URL``, ``KEEPTRUSTS_NATS_CREDS`` (of the provisioner), ``KEEPTRUSTS_POSTGRES_ADMIN_DSN`` and
``KEEPTRUSTS_NATS_REPLICAS`` (1), and writes ``<service>.dsn`` and the roles' passwords into the directory, where
``python -m libs.engines.identities`` has put the ``.creds`` files.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from pydantic import Field

from libs.common.errors import KtError
from libs.common.messaging.identities import Credentials, read_credentials
from libs.common.settings import ServiceSettings
from libs.engines.database import provision_database
from libs.engines.files import write_private_if_changed
from libs.engines.streams import provision_streams


class ProvisionSettings(ServiceSettings):
    postgres_admin_dsn: str = Field(description="Connection string of a role that may create roles and databases")
    nats_replicas: int = Field(default=1, ge=1, le=5, description="Copies of each stream: 1, 3 or 5")


async def provision(
    *, nats_url: str, provisioner: Credentials, postgres_admin_dsn: str, passwords: Path, replicas: int = 1
) -> dict[str, str]:
    """Bring both engines to the state the services need; what is there already is checked, not rewritten.

    Returns the PostgreSQL connection string of each service that owns a schema.

    Raises:
        KtError: ``engine_failed`` when an engine refuses or a stream differs; ``unavailable`` without connection.
    """
    await provision_streams(nats_url, provisioner, replicas=replicas)
    return await provision_database(postgres_admin_dsn, passwords)


async def _provision_external(directory: Path) -> None:
    settings = ProvisionSettings.load()
    dsns = await provision(
        nats_url=settings.nats_url,
        provisioner=read_credentials(settings.nats_creds),
        postgres_admin_dsn=settings.postgres_admin_dsn,
        passwords=directory,
        replicas=settings.nats_replicas,
    )
    for service, dsn in dsns.items():
        write_private_if_changed(directory / f"{service}.dsn", dsn)


def main(arguments: list[str]) -> int:
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m libs.engines.provision DIRECTORY\n")
        return 2
    try:
        asyncio.run(_provision_external(Path(arguments[0])))
    except KtError as error:
        sys.stderr.write(f"{error}\n")
        return int(error.kind.exit)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))

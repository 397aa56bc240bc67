"""Where a backup is taken from: a running system, reached as the identity ``backup``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydantic import Field

from libs.common.settings import ServiceSettings
from libs.engines.database import DATABASE, kept_password, role
from libs.engines.home import Home
from libs.engines.permissions import BACKUP
from libs.engines.postgres_server import PostgresServer


class BackupSettings(ServiceSettings):
    postgres_dsn: str = Field(repr=False, description="PostgreSQL connection of the role kt_backup")


@dataclass(frozen=True, slots=True)
class Source:
    """``creds`` and ``dsn`` are those of the identity ``backup``, which may read what is saved, and write nothing."""

    nats_url: str
    creds: Path
    dsn: str

    @classmethod
    def of_home(cls, home: Home, nats_url: str) -> Source:
        """The engines that run from a home."""
        postgres = PostgresServer(home.postgres, home.log("postgres"))
        dsn = postgres.conninfo(role(BACKUP), kept_password(home.identities, BACKUP), DATABASE)
        return cls(nats_url, home.identities / f"{BACKUP}.creds", dsn)

    @classmethod
    def from_environment(cls) -> Source:
        """Engines that somebody else runs, named by ``KEEPTRUSTS_NATS_URL``, ``…_NATS_CREDS``, ``…_POSTGRES_DSN``.

        Raises:
            KtError: ``misconfigured``.
        """
        settings = BackupSettings.load()
        return cls(settings.nats_url, settings.nats_creds, settings.postgres_dsn)

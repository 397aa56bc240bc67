"""What each service process finds in its environment: what it needs, and nothing that belongs to another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

_PASSED_ON: Final = ("PATH", "LANG", "LC_ALL", "TZ", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR")
_COMMON: Final = ("KEEPTRUSTS_LOG_LEVEL",)
_OF_SERVICE: Final[Mapping[str, tuple[str, ...]]] = {
    "api": ("KEEPTRUSTS_PUBLIC_NATS_URL",),
    "keys": (
        "KEEPTRUSTS_LEGACY_POSTGRES_DSN",
        "KEEPTRUSTS_LEGACY_POSTGRES_DSN_FILE",
        "KEEPTRUSTS_LEGACY_TABLE",
        "KEEPTRUSTS_LEGACY_ORG",
    ),
    "webhooks": (
        "KEEPTRUSTS_WEBHOOK_ALLOWED_NETWORKS",
        "KEEPTRUSTS_WEBHOOK_TIMEOUT_SECONDS",
        "KEEPTRUSTS_WEBHOOK_RETENTION_DAYS",
    ),
}


@dataclass(frozen=True, slots=True)
class Installation:
    """Everything the services are told, by whom it is for."""

    nats_url: str
    identities: Path
    account: str
    gateway_signing_seed_file: Path
    api_host: str
    api_port: int
    dsns: Mapping[str, str] = field(default_factory=dict)
    master_key: Mapping[str, str] = field(default_factory=dict)
    jwt_keys: Mapping[str, str] = field(default_factory=dict)
    python_path: str = ""


def service_environment(service: str, installation: Installation, outer: Mapping[str, str]) -> dict[str, str]:
    """The whole environment of one service.

    From ``outer`` come the ordinary variables and the settings named for the service (``KEEPTRUSTS_<SERVICE>_…``);
    the master key reaches only ``keys``, JWT keys and the gateway signing seed only ``api``, a database role only its
    owner.
    """
    prefix = f"KEEPTRUSTS_{service.upper()}_"
    named = (*_PASSED_ON, *_COMMON, *_OF_SERVICE.get(service, ()))
    environment = {name: value for name, value in outer.items() if name in named or name.startswith(prefix)}
    environment |= {
        "PYTHONPATH": installation.python_path,
        "KEEPTRUSTS_NATS_URL": installation.nats_url,
        "KEEPTRUSTS_NATS_CREDS": str(installation.identities / f"{service}.creds"),
    }
    if service in installation.dsns:
        environment["KEEPTRUSTS_POSTGRES_DSN"] = installation.dsns[service]
    if service == "keys":
        environment |= installation.master_key
    if service == "api":
        environment |= installation.jwt_keys
        environment |= {
            "KEEPTRUSTS_API_HOST": installation.api_host,
            "KEEPTRUSTS_API_PORT": str(installation.api_port),
            "KEEPTRUSTS_GATEWAY_SIGNING_SEED_FILE": str(installation.gateway_signing_seed_file),
            "KEEPTRUSTS_NATS_ACCOUNT": installation.account,
        }
        environment.setdefault("KEEPTRUSTS_PUBLIC_NATS_URL", installation.nats_url)
    return environment

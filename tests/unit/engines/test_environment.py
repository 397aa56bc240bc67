"""What each service finds in its environment."""

from pathlib import Path

import pytest

from libs.engines.environment import Installation, service_environment
from libs.engines.supervisor import SERVICES

OUTER = {
    "PATH": "/bin",
    "AWS_SECRET_ACCESS_KEY": "of somebody else",
    "KEEPTRUSTS_LOG_LEVEL": "debug",
    "KEEPTRUSTS_SECRET_ENCRYPTION_KEY": "master-secret",
    "KEEPTRUSTS_SECRET_ENCRYPTION_KEY_PREVIOUS": "previous-master-secret",
    "KEEPTRUSTS_JWT_VERIFICATION_KEYS": "k1:jwt-secret",
    "KEEPTRUSTS_TOKEN": "admin-token",
    "KEEPTRUSTS_AUDIT_RETENTION_DAYS": "30",
}
INSTALLATION = Installation(
    nats_url="nats://127.0.0.1:4222",
    identities=Path("/home/kt/identities"),
    account="ACCOUNT",
    gateway_signing_seed_file=Path("/home/kt/identities/gateway.nk"),
    api_host="127.0.0.1",
    api_port=8080,
    dsns={name: f"user=kt_{name}" for name in ("keys", "resolver", "audit")},
    master_key={"KEEPTRUSTS_SECRET_ENCRYPTION_KEY": "master-secret"},
    jwt_keys={"KEEPTRUSTS_JWT_VERIFICATION_KEYS": "k1:jwt-secret"},
    python_path="/app",
)


def owners_of(value: str) -> set[str]:
    return {s for s in SERVICES if any(value in v for v in service_environment(s, INSTALLATION, OUTER).values())}


@pytest.mark.parametrize(
    ("value", "owners"),
    [
        ("master-secret", {"keys"}),
        ("jwt-secret", {"api"}),
        ("gateway.nk", {"api"}),
        ("user=kt_keys", {"keys"}),
        ("user=kt_resolver", {"resolver"}),
        ("user=kt_audit", {"audit"}),
        ("identities/command.creds", {"command"}),
        ("admin-token", set()),
        ("of somebody else", set()),
        ("nats://127.0.0.1:4222", set(SERVICES)),
        ("debug", set(SERVICES)),
    ],
)
def test_a_value_reaches_its_owners_and_nobody_else(value: str, owners: set[str]) -> None:
    assert owners_of(value) == owners


def test_a_setting_named_for_a_service_reaches_that_service() -> None:
    assert service_environment("audit", INSTALLATION, OUTER)["KEEPTRUSTS_AUDIT_RETENTION_DAYS"] == "30"
    assert "KEEPTRUSTS_AUDIT_RETENTION_DAYS" not in service_environment("keys", INSTALLATION, OUTER)


def test_the_address_gateways_are_told_can_be_set() -> None:
    outer = {"KEEPTRUSTS_PUBLIC_NATS_URL": "nats://bus.example.com:4222"}
    assert service_environment("api", INSTALLATION, outer)["KEEPTRUSTS_PUBLIC_NATS_URL"] == (
        "nats://bus.example.com:4222"
    )
    assert service_environment("api", INSTALLATION, {})["KEEPTRUSTS_PUBLIC_NATS_URL"] == INSTALLATION.nats_url

"""docs/reference/settings.md names every variable that a process reads, with the default it has."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings

from libs.backup.source import BackupSettings
from libs.engines.provision import ProvisionSettings
from services.api.settings import ApiSettings
from services.audit.settings import AuditSettings
from services.command.settings import CommandSettings
from services.gateway.settings import GatewaySettings
from services.keys.settings import KeysSettings
from services.resolver.settings import ResolverSettings
from services.webhooks.settings import WebhooksSettings

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "reference" / "settings.md"
PROCESSES: dict[str, type[BaseSettings]] = {
    "api": ApiSettings,
    "audit": AuditSettings,
    "backup": BackupSettings,
    "command": CommandSettings,
    "gateway": GatewaySettings,
    "keys": KeysSettings,
    "provision": ProvisionSettings,
    "resolver": ResolverSettings,
    "webhooks": WebhooksSettings,
}
SECRETS = {
    "KEEPTRUSTS_SECRET_ENCRYPTION_KEY",
    "KEEPTRUSTS_SECRET_ENCRYPTION_KEY_PREVIOUS",
    "KEEPTRUSTS_JWT_VERIFICATION_KEYS",
    "KEEPTRUSTS_GATEWAY_CLIENT_KEY",
    "KEEPTRUSTS_GATEWAY_GIT_WEBHOOK_SECRET",
    "KEEPTRUSTS_LEGACY_POSTGRES_DSN",
    "KEEPTRUSTS_AUDIT_BUCKET_SECRET_KEY",
    "KEEPTRUSTS_AUDIT_GIT_TOKEN",
}
"""Read apart from the settings classes, by ``secret_from_environment``: as a value or from the file of ``…_FILE``."""

_ROW = re.compile(r"\| `([A-Z][A-Z_]+)` \| ([^|]+) \| ([^|]+) \| [^|]+ \|")
_MENTIONED = re.compile(r"KEEPTRUSTS(?:_[A-Z]+)+\b")


def documented() -> dict[str, tuple[set[str], str]]:
    """Variable → the processes that read it, and its default."""
    rows = _ROW.findall(PAGE.read_text(encoding="utf-8"))
    assert len({name for name, _, _ in rows}) == len(rows), "a variable has two rows"
    return {name: ({p.strip() for p in processes.split(",")}, default) for name, processes, default in rows}


def variable(cls: type[BaseSettings], name: str, field: FieldInfo) -> str:
    alias = field.validation_alias
    return alias if isinstance(alias, str) else f"{cls.model_config['env_prefix']}{name}".upper()


def shown(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value: Any = field.default
    if value in (None, ""):
        return "none"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


FIELDS = [
    pytest.param(process, variable(cls, name, field), shown(field), id=f"{process}-{name}")
    for process, cls in PROCESSES.items()
    for name, field in cls.model_fields.items()
]


@pytest.mark.parametrize(("process", "name", "default"), FIELDS)
def test_a_setting_has_a_row_with_its_reader_and_default(process: str, name: str, default: str) -> None:
    assert name in documented()
    readers, told = documented()[name]
    assert process in readers
    assert told == default


@pytest.mark.parametrize("name", sorted(SECRETS))
def test_a_secret_is_documented_with_its_file(name: str) -> None:
    assert {name, f"{name}_FILE"} <= documented().keys()


def test_every_variable_the_code_mentions_is_documented() -> None:
    sources = (path for folder in ("libs", "services") for path in (ROOT / folder).rglob("*.py"))
    mentioned = {name for path in sources for name in _MENTIONED.findall(path.read_text(encoding="utf-8"))}
    prefixes = {name for name in mentioned if any(other.startswith(f"{name}_") for other in documented())}
    assert mentioned - documented().keys() - prefixes == set()


def test_nothing_is_documented_that_nobody_reads() -> None:
    fields = {variable(cls, name, field) for cls in PROCESSES.values() for name, field in cls.model_fields.items()}
    secrets = SECRETS | {f"{name}_FILE" for name in SECRETS}
    of_kt = {"KEEPTRUSTS_HOME", "KEEPTRUSTS_API_URL", "KEEPTRUSTS_TOKEN", "KEEPTRUSTS_DEBUG"}
    assert documented().keys() == fields | secrets | of_kt

"""Settings of the key service."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import Field

from libs.common.errors import KtError
from libs.common.secret import Secret
from libs.common.settings import ServiceSettings, secret_from_environment
from services.keys.domain.master import VARIABLE, MasterKey, parse_master_key, parse_previous_keys


class KeysSettings(ServiceSettings):
    postgres_dsn: str = Field(repr=False, description="PostgreSQL connection of the role kt_keys")
    legacy_table: str = Field(default="config_variables", description="Table of the older plaintext rows")
    legacy_org: str = Field(default="default", description="Org that the older plaintext rows belong to")


@dataclass(frozen=True, slots=True)
class MasterKeys:
    """The key everything is wrapped under, and those that may still be met in the store."""

    current: MasterKey
    previous: Sequence[MasterKey] = ()


def master_keys_from_environment() -> MasterKeys:
    """Read ``KEEPTRUSTS_SECRET_ENCRYPTION_KEY`` and ``…_PREVIOUS``, or the files that ``…_FILE`` name.

    Raises:
        KtError: ``misconfigured`` or ``weak_master_key``, never with a key in it.
    """
    text = secret_from_environment(VARIABLE)
    if text is None:
        raise KtError(
            "misconfigured",
            f"{VARIABLE} is not set; without it no secret can be sealed or opened.",
            f"Set it, or {VARIABLE}_FILE; make a key with `openssl rand -base64 32`.",
        )
    current = parse_master_key(text)
    previous = secret_from_environment(f"{VARIABLE}_PREVIOUS")
    return MasterKeys(current, parse_previous_keys(previous, current) if previous else ())


def legacy_dsn_from_environment() -> Secret | None:
    """Where the older plaintext rows lie; None without such rows.

    Raises:
        KtError: ``misconfigured``.
    """
    return secret_from_environment("KEEPTRUSTS_LEGACY_POSTGRES_DSN")

"""Settings of the api service. The JWT verification keys are read apart, as a secret."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from pydantic import Field

from libs.common.auth.token_keys import TokenKeys
from libs.common.errors import KtError
from libs.common.settings import ServiceSettings, secret_from_environment

JWT_KEYS: Final = "KEEPTRUSTS_JWT_VERIFICATION_KEYS"


class ApiSettings(ServiceSettings):
    api_host: str = Field(default="127.0.0.1", description="Address to listen on")
    api_port: int = Field(default=8080, ge=0, le=65535, description="Port to listen on; 0 takes a free one")
    api_trusted_proxies: str = Field(
        default="", description="Addresses whose X-Forwarded-For is believed, with commas; none by default"
    )
    api_max_active: int = Field(default=512, ge=1, description="Requests worked on at once; more are refused")
    public_nats_url: str = Field(default="", description="Where gateways reach NATS; nats_url by default")
    nats_account: str = Field(description="Public key of the NATS account that gateways belong to")
    gateway_signing_seed_file: Path = Field(description="File with the seed that signs gateway identities")


def token_keys_from_environment() -> TokenKeys:
    """Raises: KtError ``misconfigured`` when there are none, or they can't be used."""
    text = secret_from_environment(JWT_KEYS)
    if text is None:
        raise KtError(
            "misconfigured",
            f"{JWT_KEYS} is not set; without it no token can be verified.",
            f"Set it, or {JWT_KEYS}_FILE, to kid1:secret1; make a secret with `openssl rand -base64 32`.",
        )
    return TokenKeys.parse(text, f"The file named by {JWT_KEYS}_FILE" if _keys_file() else JWT_KEYS)


def token_keys_read_again() -> TokenKeys:
    """The same while the process runs, when only a file can have changed.

    Raises:
        KtError: ``misconfigured`` also when they were given as a value.
    """
    if not _keys_file():
        raise KtError(
            "misconfigured",
            f"{JWT_KEYS} was given as a value, which a running process can't read anew; nothing was changed.",
            f"Restart with the new value, or give the keys in a file, with {JWT_KEYS}_FILE.",
        )
    return token_keys_from_environment()


def _keys_file() -> str:
    return os.environ.get(f"{JWT_KEYS}_FILE", "")

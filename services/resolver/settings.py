"""Settings of the resolver."""

from __future__ import annotations

from pydantic import Field, SecretStr

from libs.common.settings import ServiceSettings


class ResolverSettings(ServiceSettings):
    postgres_dsn: SecretStr = Field(description="libpq connection string of the role kt_resolver")

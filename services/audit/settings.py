"""Settings of the audit service."""

from __future__ import annotations

from pydantic import Field

from libs.common.settings import ServiceSettings


class AuditSettings(ServiceSettings):
    postgres_dsn: str = Field(repr=False, description="Connection string of the role kt_audit")

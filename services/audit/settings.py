"""Settings of the audit service."""

from __future__ import annotations

from pydantic import Field

from libs.common.settings import ServiceSettings


class AuditSettings(ServiceSettings):
    postgres_dsn: str = Field(repr=False, description="Connection string of the role kt_audit")
    audit_checkpoint_seconds: int = Field(
        default=60, ge=1, le=86_400, description="The log's state is signed this long after the last time, if it grew"
    )
    audit_checkpoint_events: int = Field(
        default=10_000, ge=1, description="It is signed sooner once this many entries came"
    )

"""Settings of the audit service."""

from __future__ import annotations

from pydantic import Field

from libs.common.secret import Secret
from libs.common.settings import ServiceSettings, secret_from_environment


class AuditSettings(ServiceSettings):
    postgres_dsn: str = Field(repr=False, description="Connection string of the role kt_audit")
    audit_checkpoint_seconds: int = Field(
        default=60, ge=1, le=86_400, description="The log's state is signed this long after the last time, if it grew"
    )
    audit_checkpoint_events: int = Field(
        default=10_000, ge=1, description="It is signed sooner once this many entries came"
    )
    audit_checkpoint_copies: str = Field(
        default="", description="Where signed states of the log are copied to, with commas"
    )
    audit_witnesses: str = Field(default="", description="Who cosigns them: each an address and a key, with commas")
    audit_archive: str = Field(
        default="", description="Directory that months are exported to before they are removed from the log"
    )
    audit_bucket_access_key: str = Field(default="", repr=False, description="Access key id for buckets")
    audit_bucket_region: str = Field(
        default="us-east-1", description="Region that requests to buckets are signed for"
    )


def bucket_secret() -> Secret | None:
    """The secret access key for buckets."""
    return secret_from_environment("KEEPTRUSTS_AUDIT_BUCKET_SECRET_KEY")


def git_token() -> Secret | None:
    """The password for Git servers that get copies."""
    return secret_from_environment("KEEPTRUSTS_AUDIT_GIT_TOKEN")

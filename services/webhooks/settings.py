"""Settings of the webhooks service."""

from __future__ import annotations

from pydantic import Field

from libs.common.settings import ServiceSettings


class WebhooksSettings(ServiceSettings):
    postgres_dsn: str = Field(repr=False, description="Connection string of the role kt_webhooks")
    webhook_allowed_networks: str = Field(
        default="", description="Networks beside the public internet that may be told of events, with commas"
    )
    webhook_timeout_seconds: float = Field(default=15, ge=1, le=60, description="How long a receiver may take")
    webhook_retention_days: int = Field(
        default=30, ge=1, le=366, description="How long ended deliveries are kept for redelivery"
    )

"""What happens to webhooks: addresses that are told of events, and the deliveries to them."""

from __future__ import annotations

from dataclasses import dataclass

from libs.common.events.registry import REGISTRY
from libs.common.events.secret import SealedRef


@REGISTRY.event("kt.webhook.created.v1", action="create")
@dataclass(frozen=True, slots=True)
class WebhookCreated:
    """``event_types`` are patterns (libs.common.events.patterns); ``sealed`` is the secret that signs."""

    url: str
    event_types: tuple[str, ...]
    description: str
    sealed: SealedRef


@REGISTRY.event("kt.webhook.updated.v1", action="update")
@dataclass(frozen=True, slots=True)
class WebhookUpdated:
    url: str
    event_types: tuple[str, ...]
    description: str
    enabled: bool


@REGISTRY.event("kt.webhook.disabled.v1", action="disable")
@dataclass(frozen=True, slots=True)
class WebhookDisabled:
    """The system stopped delivering. ``reason``: gone (the address answered 410)."""

    reason: str


@REGISTRY.event("kt.webhook.secret_rotated.v1", action="rotate_secret")
@dataclass(frozen=True, slots=True)
class WebhookSecretRotated:
    """``sealed`` signs from now on; secrets before it sign as well until ``overlap_until`` (RFC 3339)."""

    sealed: SealedRef
    overlap_until: str


@REGISTRY.event("kt.webhook.secret_retired.v1", action="retire_secret")
@dataclass(frozen=True, slots=True)
class WebhookSecretRetired:
    """The overlap of these old secrets is over; they sign no more and are destroyed."""

    retired: tuple[SealedRef, ...]


@REGISTRY.event("kt.webhook.deleted.v1", action="delete")
@dataclass(frozen=True, slots=True)
class WebhookDeleted:
    """Its secrets are destroyed."""


WebhookEvent = (
    WebhookCreated | WebhookUpdated | WebhookDisabled | WebhookSecretRotated | WebhookSecretRetired | WebhookDeleted
)


@REGISTRY.event("kt.webhook.tested.v1", action="test", access=True)
@dataclass(frozen=True, slots=True)
class WebhookTested:
    """Somebody asked for a delivery to try the webhook; this event is what is delivered."""


@REGISTRY.event("kt.webhook.redelivery_requested.v1", action="redeliver", access=True)
@dataclass(frozen=True, slots=True)
class WebhookRedeliveryRequested:
    delivery: str
    event_id: str
    event_type: str


@REGISTRY.event("kt.webhook.delivered.v1", action="deliver", access=True)
@dataclass(frozen=True, slots=True)
class WebhookDelivered:
    """The address answered ``status`` (HTTP, 2xx) at the attempt with number ``attempts``."""

    delivery: str
    event_id: str
    event_type: str
    attempts: int
    status: int


@REGISTRY.event("kt.webhook.delivery_failed.v1", action="deliver", failure=True, access=True)
@dataclass(frozen=True, slots=True)
class WebhookDeliveryFailed:
    """Given up after ``attempts``. ``reason`` is that of the last one (docs/how-to/subscribe-to-events.md);
    ``status`` what the address answered then, 0 without an answer."""

    delivery: str
    event_id: str
    event_type: str
    attempts: int
    status: int
    reason: str

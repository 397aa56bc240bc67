"""What the webhooks service answers: which addresses may be told of events, what was delivered, and what failed."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from libs.common.messaging.rpc import Endpoint, Message
from libs.common.protocol.parties import Caller

DeliveryStatus = Literal["pending", "delivered", "failed"]


class AdmitUrl(Message):
    """May this address be told of events of the org, by a webhook with this id?"""

    org: str
    webhook: str
    url: str


class Admitted(Message):
    pass


class GetWebhook(Message):
    org: str
    webhook: str


class WebhookView(Message):
    """``overlap_until`` (RFC 3339) is empty unless older secrets are valid; ``disabled_reason`` unless the system
    disabled it."""

    id: str
    url: str
    event_types: tuple[str, ...]
    description: str
    enabled: bool
    disabled_reason: str
    overlap_until: str
    sequence: int
    created_at: str
    updated_at: str


class ListWebhooks(Message):
    """In the order they were created, behind the place ``after``."""

    org: str
    after: int = Field(default=0, ge=0)
    limit: int = Field(default=50, ge=1, le=500)


class WebhookList(Message):
    """``next_after`` is 0 on the last page."""

    items: list[WebhookView]
    next_after: int


class ListDeliveries(Message):
    """Newest first, before the place ``before`` (0: from the newest on)."""

    org: str
    webhook: str
    status: DeliveryStatus | None = None
    before: int = Field(default=0, ge=0)
    limit: int = Field(default=50, ge=1, le=500)


class DeliveryView(Message):
    """``answered`` is the last HTTP status, 0 without an answer; ``reason`` what was wrong with the last attempt.

    ``next_attempt_at`` is empty unless it is pending, ``finished_at`` while it is.
    """

    id: str
    event_id: str
    event_type: str
    status: DeliveryStatus
    attempts: int
    answered: int
    reason: str
    created_at: str
    next_attempt_at: str
    finished_at: str


class DeliveryList(Message):
    """``next_before`` is 0 on the last page."""

    items: list[DeliveryView]
    next_before: int


class RedeliverRequest(Message):
    caller: Caller
    webhook: str
    delivery: str


class TestRequest(Message):
    """``request_key`` makes a repeated request find its delivery."""

    __test__ = False

    caller: Caller
    webhook: str
    request_key: str


_QUEUE = "webhooks"
ADMIT = Endpoint("kt.webhooks.v1.admit", _QUEUE, AdmitUrl, Admitted, "May an address be told of events?")
GET = Endpoint("kt.webhooks.v1.get", _QUEUE, GetWebhook, WebhookView, "One webhook")
LIST = Endpoint("kt.webhooks.v1.list", _QUEUE, ListWebhooks, WebhookList, "A page of webhooks")
DELIVERIES = Endpoint("kt.webhooks.v1.deliveries", _QUEUE, ListDeliveries, DeliveryList, "A page of deliveries")
REDELIVER = Endpoint("kt.webhooks.v1.redeliver", _QUEUE, RedeliverRequest, DeliveryView, "Deliver once more")
TEST = Endpoint("kt.webhooks.v1.test", _QUEUE, TestRequest, DeliveryView, "Deliver a test")

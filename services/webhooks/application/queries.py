"""What webhooks there are, what was delivered, and the two things one can ask for: a test, and once more."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from libs.common.clock import Clock
from libs.common.errors import KtError
from libs.common.ids import derived_id
from libs.common.protocol.webhooks import (
    Admitted,
    AdmitUrl,
    DeliveryList,
    DeliveryView,
    GetWebhook,
    ListDeliveries,
    ListWebhooks,
    RedeliverRequest,
    TestRequest,
    WebhookList,
    WebhookView,
)
from services.webhooks.application.ports import Lists, NewDelivery, RequestLog, Wakeable
from services.webhooks.domain.addresses import AddressPolicy
from services.webhooks.domain.destination import checked_destination
from services.webhooks.domain.subscription import Subscription

READ_MODEL_TIMEOUT_S: Final = 3.0
"""Less than what a caller waits for an answer, so that it gets one."""

RECORD_LOOKS: Final = 10
RECORD_LOOK_S: Final = 0.2

MAX_WEBHOOKS: Final = 200
"""In one org: each event becomes a delivery to each of them."""

TESTED: Final = "kt.webhook.tested.v1"


@dataclass(frozen=True, slots=True)
class Queries:
    """``caught_up`` returns True once the lists show everything stored before it was called."""

    lists: Lists
    requests: RequestLog
    policy: AddressPolicy
    deliverer: Wakeable
    clock: Clock
    caught_up: Callable[[float], Awaitable[bool]]

    async def admit(self, _subject: str, request: AdmitUrl) -> Admitted:
        checked_destination(request.url, self.policy)
        if await self.lists.count(request.org, request.webhook) >= MAX_WEBHOOKS:
            raise KtError(
                "invalid_request",
                f"The org has {MAX_WEBHOOKS} webhooks, the limit; nothing was stored.",
                "Delete one that is not needed any more: `kt webhooks list` shows them.",
            )
        return Admitted()

    async def get(self, _subject: str, request: GetWebhook) -> WebhookView:
        return _view(await self._known(request.org, request.webhook))

    async def list(self, _subject: str, request: ListWebhooks) -> WebhookList:
        await self._fresh()
        found = await self.lists.webhooks(request.org, request.after, request.limit + 1)
        shown = found[: request.limit]
        more = shown[-1].created_sequence if len(found) > len(shown) else 0
        return WebhookList(items=[_view(subscription) for subscription in shown], next_after=more)

    async def deliveries(self, _subject: str, request: ListDeliveries) -> DeliveryList:
        await self._known(request.org, request.webhook)
        found = await self.lists.deliveries(request.webhook, request.status, request.before, request.limit + 1)
        shown = found[: request.limit]
        more = shown[-1][0] if len(found) > len(shown) else 0
        return DeliveryList(items=[view for _, view in shown], next_before=more)

    async def redeliver(self, _subject: str, request: RedeliverRequest) -> DeliveryView:
        """One that is pending stays as it is."""
        caller = request.caller
        webhook = await self._known(caller.org, request.webhook)
        delivery = await self._delivery(webhook.id, request.delivery)
        if delivery.status == "pending":
            return delivery
        _check_enabled(webhook)
        await self.requests.redelivery_requested(caller, webhook.id, delivery)
        await self._begin_again(webhook.id, delivery.id)
        self.deliverer.wake()
        return await self._delivery(webhook.id, delivery.id)

    async def test(self, _subject: str, request: TestRequest) -> DeliveryView:
        caller = request.caller
        webhook = await self._known(caller.org, request.webhook)
        _check_enabled(webhook)
        event_id = derived_id("webhook-test", caller.org, webhook.id, request.request_key)
        delivery = derived_id("delivery", webhook.id, event_id)
        known = await self.lists.delivery(webhook.id, delivery)
        if known is not None:
            return known
        position = await self.requests.tested(caller, webhook.id, event_id)
        await self.lists.add(NewDelivery(delivery, webhook.id, position, event_id, TESTED, self.clock.now()))
        self.deliverer.wake()
        return await self._delivery(webhook.id, delivery)

    async def _begin_again(self, webhook: str, delivery: str) -> None:
        """It may have ended a moment ago: then how it ended has to be on record first."""
        for _ in range(RECORD_LOOKS):
            if await self.lists.redeliver(webhook, delivery, self.clock.now()):
                return
            await asyncio.sleep(RECORD_LOOK_S)
        raise KtError(
            "conflict", "How this delivery ended is just being put on record.", "Try again in a few seconds."
        )

    async def _known(self, org: str, webhook: str) -> Subscription:
        await self._fresh()
        found = await self.lists.webhook(org, webhook)
        if found is None:
            raise KtError("not_found", "There is no webhook with this id.", "`kt webhooks list` shows what there is.")
        return found

    async def _delivery(self, webhook: str, delivery: str) -> DeliveryView:
        found = await self.lists.delivery(webhook, delivery)
        if found is None:
            raise KtError(
                "not_found",
                "There is no delivery with this id.",
                "`kt webhooks deliveries` lists them; they are kept for a limited time.",
            )
        return found

    async def _fresh(self) -> None:
        if not await self.caught_up(READ_MODEL_TIMEOUT_S):
            raise KtError(
                "unavailable", "The list has not caught up with the event stream.", "Try again in a moment."
            )


def _check_enabled(webhook: Subscription) -> None:
    if not webhook.enabled:
        raise KtError(
            "conflict",
            "The webhook is disabled, so nothing is delivered.",
            "`kt webhooks update --enable` enables it.",
        )


def _view(webhook: Subscription) -> WebhookView:
    return WebhookView(
        id=webhook.id,
        url=webhook.url,
        event_types=webhook.event_types,
        description=webhook.description,
        enabled=webhook.enabled,
        disabled_reason=webhook.disabled_reason,
        overlap_until=webhook.overlap_until,
        sequence=webhook.sequence,
        created_at=webhook.created_at,
        updated_at=webhook.updated_at,
    )

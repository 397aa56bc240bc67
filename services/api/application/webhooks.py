"""Webhooks: changes are commands; what was delivered, and whereto anything may be, the webhooks service knows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from libs.common.errors import KtError
from libs.common.ids import derived_id
from libs.common.messaging.rpc import Unanswered
from libs.common.protocol import webhooks
from libs.common.protocol.command import WEBHOOK, BoxedValue, WebhookCommand, WebhookOutcome
from libs.common.protocol.webhooks import DeliveryStatus, DeliveryView, WebhookView
from libs.common.secret import Secret
from libs.common.webhook_secret import generated
from services.api.application.boxing import Boxes
from services.api.application.call import Call, Conditions
from services.api.application.ports import Bus
from services.api.domain.cursor import decode_cursor, encode_cursor

SECRET_KIND: Final = "webhook_secret"  # noqa: S105 - the kind of a sealed value


@dataclass(frozen=True, slots=True)
class Changed:
    """``secret`` is set where one was made by this very request: nobody will see it again."""

    outcome: WebhookOutcome
    secret: Secret | None = None


@dataclass(frozen=True, slots=True)
class Webhooks:
    bus: Bus
    boxes: Boxes
    entropy: Callable[[int], bytes]

    async def create(
        self,
        call: Call,
        conditions: Conditions,
        *,
        url: str,
        event_types: Sequence[str],
        description: str,
        secret: Secret | None,
    ) -> Changed:
        """The id follows from the request, so that a repeated one finds its webhook.

        Raises:
            KtError: ``invalid_request`` when the URL leads where nothing may be sent.
        """
        webhook = derived_id("webhook", call.org, conditions.command_id)
        await self._admit(call, webhook, url)
        members = {"url": url, "event_types": tuple(event_types), "description": description}
        return await self._with_secret(call, conditions, webhook, secret, command="create", **members)

    async def rotate_secret(
        self, call: Call, conditions: Conditions, webhook: str, *, secret: Secret | None, overlap_s: int | None
    ) -> Changed:
        """The secrets before it stay valid for ``overlap_s`` seconds; a day when that is None."""
        return await self._with_secret(
            call, conditions, webhook, secret, command="rotate_secret", overlap_s=overlap_s
        )

    async def update(self, call: Call, conditions: Conditions, webhook: str, **members: Any) -> WebhookOutcome:
        """``url``, ``event_types``, ``description``, ``enabled``: what is left out or None stays as it is."""
        if members.get("url") is not None:
            await self._admit(call, webhook, members["url"])
        return await self._send(call, conditions, webhook, command="update", **members)

    async def delete(self, call: Call, conditions: Conditions, webhook: str) -> WebhookOutcome:
        return await self._send(call, conditions, webhook, command="delete")

    async def get(self, call: Call, webhook: str) -> WebhookView:
        return await self.bus.call(webhooks.GET, webhooks.GetWebhook(org=call.org, webhook=webhook))

    async def page(self, call: Call, cursor: str, limit: int) -> tuple[list[WebhookView], str | None]:
        """A page and the cursor of the next one. Raises: KtError ``invalid_cursor``."""
        after = _place(decode_cursor(call.org, "webhook", "", cursor))
        request = webhooks.ListWebhooks(org=call.org, after=after, limit=limit)
        found = await self.bus.call(webhooks.LIST, request)
        more = encode_cursor(call.org, "webhook", "", str(found.next_after)) if found.next_after else None
        return found.items, more

    async def deliveries(
        self, call: Call, webhook: str, status: DeliveryStatus | None, cursor: str, limit: int
    ) -> tuple[list[DeliveryView], str | None]:
        """A page and the cursor of the next one. Raises: KtError ``invalid_cursor``."""
        scope = f"{webhook}/{status or ''}"
        before = _place(decode_cursor(call.org, "delivery", scope, cursor))
        request = webhooks.ListDeliveries(org=call.org, webhook=webhook, status=status, before=before, limit=limit)
        found = await self.bus.call(webhooks.DELIVERIES, request)
        more = encode_cursor(call.org, "delivery", scope, str(found.next_before)) if found.next_before else None
        return found.items, more

    async def redeliver(self, call: Call, webhook: str, delivery: str) -> DeliveryView:
        request = webhooks.RedeliverRequest(caller=call.caller(), webhook=webhook, delivery=delivery)
        return await self.bus.call(webhooks.REDELIVER, request)

    async def test(self, call: Call, conditions: Conditions, webhook: str) -> DeliveryView:
        request = webhooks.TestRequest(caller=call.caller(), webhook=webhook, request_key=conditions.command_id)
        return await self.bus.call(webhooks.TEST, request)

    async def _admit(self, call: Call, webhook: str, url: str) -> None:
        await self.bus.call(webhooks.ADMIT, webhooks.AdmitUrl(org=call.org, webhook=webhook, url=url))

    async def _with_secret(
        self, call: Call, conditions: Conditions, webhook: str, given: Secret | None, **members: Any
    ) -> Changed:
        secret = generated(self.entropy) if given is None else given
        members["made"] = given is None
        boxed = await self.boxes.seal(call.org, SECRET_KIND, webhook, secret)
        try:
            outcome = await self._send(call, conditions, webhook, secret=boxed, **members)
        except KtError as error:
            if error.code != "undecryptable":
                raise
            outcome = await self._again(call, conditions, webhook, boxed, secret, **members)
        return Changed(outcome, secret if given is None and not outcome.replayed else None)

    async def _again(
        self, call: Call, conditions: Conditions, webhook: str, refused: BoxedValue, secret: Secret, **members: Any
    ) -> WebhookOutcome:
        """The key service has another transport key by now. The command id makes the second attempt harmless."""
        self.boxes.forget(refused.key_id)
        boxed = await self.boxes.seal(call.org, SECRET_KIND, webhook, secret)
        return await self._send(call, conditions, webhook, secret=boxed, **members)

    async def _send(self, call: Call, conditions: Conditions, webhook: str, **members: Any) -> WebhookOutcome:
        command = WebhookCommand(
            command_id=conditions.command_id,
            caller=call.caller(),
            webhook=webhook,
            expected_sequence=conditions.expected_sequence,
            **members,
        )
        try:
            return await self.bus.call(WEBHOOK, command)
        except Unanswered:
            raise KtError(
                "outcome_unknown",
                "The change was sent and no answer came in time; it may have been carried out.",
                "Repeat the request with the same Idempotency-Key: it is carried out at most once. A secret that was"
                " made by the first request is not shown again: rotate it then.",
            ) from None


def _place(text: str) -> int:
    """The number in a cursor; its checksum has been compared."""
    return int(text) if text.isdecimal() else 0

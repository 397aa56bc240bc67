"""Signing deliveries to webhooks, so that a webhook secret never leaves this service."""

from __future__ import annotations

from collections.abc import Sequence

from libs.common.errors import KtError
from libs.common.secret import Secret
from services.keys.application.destruction import WEBHOOK_SECRET
from services.keys.application.opening import Rejected, SealedReference, Unsealer
from services.keys.application.ports import DamageNotes
from services.keys.domain.sealed import Binding, is_sealed_id
from services.keys.domain.webhook_signature import signature_header


class WebhookSignatures:
    def __init__(self, unsealer: Unsealer, damages: DamageNotes) -> None:
        self._unsealer = unsealer
        self._damages = damages

    async def sign(self, org: str, webhook: str, secrets: Sequence[SealedReference], content: bytes) -> str:
        """The value of ``webhook-signature`` with a signature per secret of the webhook, the current one first.

        An older secret that can't be opened is left out, because its overlap may just have ended.

        Raises:
            KtError: ``undecryptable`` when the current one can't be opened.
        """
        stored = await self._unsealer.fetch([secret.id for secret in secrets if is_sealed_id(secret.id)])
        opened: list[Secret] = []
        for position, secret in enumerate(secrets):
            try:
                opened.append(self._unsealer.unseal(stored.get(secret.id), secret, org, WEBHOOK_SECRET, webhook))
            except Rejected as reason:
                if position == 0:
                    self._damages.note(Binding(org, WEBHOOK_SECRET, webhook, secret.id), secret.digest, str(reason))
                    raise _undecryptable() from None
        return signature_header(opened, content)


def _undecryptable() -> KtError:
    return KtError(
        "undecryptable",
        "The webhook's secret can't be opened, so nothing can be signed with it.",
        "Give it a new one with `kt webhooks rotate-secret`.",
    )

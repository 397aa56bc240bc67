"""Secrets of one kind: each change is one command, and a value leaves this process only in a box."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from libs.common.errors import KtError
from libs.common.messaging.rpc import Unanswered
from libs.common.protocol import resolver
from libs.common.protocol.command import SECRETS, SecretCommand, SecretOutcome
from libs.common.protocol.resolver import HistoryEntry, KindOfSecret, SecretView
from libs.common.secret import Secret
from services.api.application.boxing import Boxes, Envelope
from services.api.application.call import Call, Conditions
from services.api.application.ports import Bus
from services.api.application.unresolved import unresolved
from services.api.domain.cursor import decode_cursor, encode_cursor


@dataclass(frozen=True, slots=True)
class Page:
    items: list[SecretView]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class Secrets:
    kind: KindOfSecret
    bus: Bus
    boxes: Boxes

    async def create(
        self, call: Call, conditions: Conditions, name: str, value: Secret, *, description: str, sensitive: bool
    ) -> SecretOutcome:
        return await self._store_value(
            call, conditions, name, value, command="create", description=description, sensitive=sensitive
        )

    async def rotate(self, call: Call, conditions: Conditions, name: str, value: Secret) -> SecretOutcome:
        return await self._store_value(call, conditions, name, value, command="rotate")

    async def update(
        self, call: Call, conditions: Conditions, name: str, *, description: str | None, sensitive: bool | None
    ) -> SecretOutcome:
        """What is None stays as it is."""
        return await self._send(
            call, conditions, name, command="update", description=description, sensitive=sensitive
        )

    async def roll_back(self, call: Call, conditions: Conditions, name: str, to_version: int) -> SecretOutcome:
        return await self._send(call, conditions, name, command="roll_back", to_version=to_version)

    async def take_over(self, call: Call, conditions: Conditions, name: str) -> SecretOutcome:
        """Make an older plaintext row a variable as any other; one that already is stays as it is."""
        return await self._send(call, conditions, name, command="take_over")

    async def delete(self, call: Call, conditions: Conditions, name: str) -> SecretOutcome:
        return await self._send(call, conditions, name, command="delete")

    async def destroy_version(self, call: Call, conditions: Conditions, name: str, version: int) -> SecretOutcome:
        return await self._send(call, conditions, name, command="destroy_version", version=version)

    async def get(self, call: Call, name: str) -> SecretView:
        return await self.bus.call(resolver.GET, resolver.GetSecret(org=call.org, kind=self.kind, name=name))

    async def reveal(self, call: Call, name: str) -> Secret:
        """The value of a config variable that is not sensitive. The resolver refuses others and records who asked."""
        envelope = Envelope(call)
        request = resolver.RevealRequest(caller=call.caller(), name=name, recipient_key=envelope.recipient_key)
        reply = await self.bus.call(resolver.REVEAL, request)
        if reply.results[0].status != "resolved":
            raise unresolved(reply.results[0].reason)
        return envelope.open(reply.box)[name]

    async def page(self, call: Call, prefix: str, cursor: str, limit: int, *, legacy: bool = False) -> Page:
        """``legacy``: only older plaintext rows.

        Raises:
            KtError: ``invalid_cursor`` for a cursor of another list.
        """
        selection = f"{self.kind} legacy" if legacy else self.kind
        request = resolver.ListSecrets(
            org=call.org,
            kind=self.kind,
            prefix=prefix,
            after=decode_cursor(call.org, selection, prefix, cursor),
            limit=limit,
            legacy=legacy,
        )
        found = await self.bus.call(resolver.LIST, request)
        return Page(found.items, encode_cursor(call.org, selection, prefix, found.after) if found.more else None)

    async def history(self, call: Call, name: str) -> list[HistoryEntry]:
        return (
            await self.bus.call(resolver.HISTORY, resolver.GetSecret(org=call.org, kind=self.kind, name=name))
        ).items

    async def _store_value(
        self, call: Call, conditions: Conditions, name: str, value: Secret, **members: Any
    ) -> SecretOutcome:
        boxed = await self.boxes.seal(call.org, self.kind, name, value)
        try:
            return await self._send(call, conditions, name, value=boxed, **members)
        except KtError as error:
            if error.code != "undecryptable":
                raise
        # The key service has another transport key by now. The command id makes the second attempt harmless.
        self.boxes.forget(boxed.key_id)
        boxed = await self.boxes.seal(call.org, self.kind, name, value)
        return await self._send(call, conditions, name, value=boxed, **members)

    async def _send(self, call: Call, conditions: Conditions, name: str, **members: Any) -> SecretOutcome:
        command = SecretCommand(
            command_id=conditions.command_id,
            caller=call.caller(),
            name=name,
            expected_sequence=conditions.expected_sequence,
            **members,
        )
        try:
            return await self.bus.call(SECRETS[self.kind], command)
        except Unanswered:
            raise KtError(
                "outcome_unknown",
                "The change was sent and no answer came in time; it may have been carried out.",
                "Repeat the request with the same Idempotency-Key: it is carried out at most once. "
                "If it had none, read the current state first.",
            ) from None

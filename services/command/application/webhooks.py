"""Commands on webhooks."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from libs.common.clock import Clock
from libs.common.errors import KtError
from libs.common.events import RecordedEvent, Resource
from libs.common.events.secret import SealedRef
from libs.common.events.webhook import (
    WebhookCreated,
    WebhookDeleted,
    WebhookEvent,
    WebhookSecretRotated,
    WebhookUpdated,
)
from libs.common.ids import derived_id
from libs.common.names import checked_identity
from libs.common.protocol.command import BoxedValue, Recorded, WebhookCommand, WebhookOutcome, WebhookUpkeep
from services.command.application.aggregates import Aggregates, Loaded, retried
from services.command.application.ports import Sealer
from services.command.domain.webhook import (
    WEBHOOK,
    Create,
    Delete,
    Disable,
    RetireSecrets,
    RotateSecret,
    Update,
    Webhook,
    decide,
)

KIND: Final = "webhook"
SECRET_KIND: Final = "webhook_secret"  # noqa: S105 - the kind of a sealed value
DEFAULT_OVERLAP: Final = timedelta(hours=24)
_EVENT_OF: Final[Mapping[str, type[WebhookEvent]]] = {
    "create": WebhookCreated,
    "update": WebhookUpdated,
    "rotate_secret": WebhookSecretRotated,
    "delete": WebhookDeleted,
}


@dataclass(frozen=True, slots=True)
class Webhooks:
    """A secret is sealed before its event is appended, under an id that follows from the command.

    A secret that was made for the request is another one when the request is repeated, so its id follows from its box
    as well: the first request's stays what it is, and the repeated one's is swept.
    """

    aggregates: Aggregates
    sealer: Sealer
    """Seals under the kind ``SECRET_KIND``."""
    clock: Clock

    async def handle(self, _subject: str, command: WebhookCommand) -> WebhookOutcome:
        checked_identity(command.webhook)
        return await retried(lambda: self._attempt(command))

    async def keep_up(self, _subject: str, request: WebhookUpkeep) -> Recorded:
        resource = Resource(KIND, checked_identity(request.webhook))
        command = Disable(request.reason) if request.command == "disable" else RetireSecrets(self.clock.now())
        sequence = await self.aggregates.carry_out(WEBHOOK, command, resource, request.caller, request.command_id)
        return Recorded(sequence=sequence)

    async def _attempt(self, command: WebhookCommand) -> WebhookOutcome:
        loaded = await self.aggregates.load(WEBHOOK, command.caller.org, KIND, command.webhook)
        sealed_id = _sealed_id(command)
        earlier = loaded.find(command.command_id)
        if earlier is not None:
            await self._check_same(command, earlier, loaded.state)
            mine = command.made and earlier.event.sealed.id == sealed_id
            return _outcome(command.webhook, _until(loaded, earlier.sequence), replayed=not mine)
        _check_expected(command, loaded.sequence)
        # Decided once without the secret, so that a command that is not allowed seals nothing.
        if not decide(self._command(command, SealedRef(sealed_id, "")), loaded.state):
            return _outcome(command.webhook, loaded, replayed=False)
        sealed = SealedRef("", "")
        if command.secret is not None:
            sealed = await self.sealer.seal(sealed_id, command.caller.org, command.webhook, command.secret)
        (event,) = decide(self._command(command, sealed), loaded.state)
        resource = Resource(KIND, command.webhook)
        recorded = await self.aggregates.append(loaded, event, resource, command.caller, command.command_id)
        history = (*loaded.history, recorded)
        state = WEBHOOK.evolve(loaded.state, event)
        return _outcome(command.webhook, Loaded(state, history), replayed=False)

    def _command(self, command: WebhookCommand, sealed: SealedRef) -> Create | Update | RotateSecret | Delete:
        match command.command:
            case "create":
                _secret(command)
                return Create(command.url or "", command.event_types or (), command.description or "", sealed)
            case "update":
                return Update(command.url, command.event_types, command.description, command.enabled)
            case "rotate_secret":
                _secret(command)
                overlap = DEFAULT_OVERLAP if command.overlap_s is None else timedelta(seconds=command.overlap_s)
                return RotateSecret(sealed, self.clock.now(), overlap)
            case "delete":
                return Delete()

    async def _check_same(self, command: WebhookCommand, earlier: RecordedEvent, state: Webhook) -> None:
        event = earlier.event
        same = isinstance(event, _EVENT_OF[command.command])
        for field in ("url", "event_types", "description", "enabled"):
            wanted = getattr(command, field)
            same = same and (wanted is None or getattr(event, field, wanted) == wanted)
        if not same:
            raise KtError(
                "idempotency_mismatch",
                "This Idempotency-Key was used for a different request on this webhook; nothing was changed.",
                "Use a new key for a new request.",
            )
        # Comparing means sealing, and a secret that was destroyed must not be stored again.
        if command.secret is not None and not command.made and event.sealed in _secrets(state):
            await self.sealer.seal(event.sealed.id, command.caller.org, command.webhook, command.secret)


def _sealed_id(command: WebhookCommand) -> str:
    parts = ["sealed", command.caller.org, command.command_id]
    if command.made:
        parts.append(hashlib.sha256(_secret(command).box).hexdigest())
    return derived_id(*parts)


def _secret(command: WebhookCommand) -> BoxedValue:
    if command.secret is None:
        raise KtError("invalid_request", "The command takes a secret.")
    return command.secret


def _secrets(state: Webhook) -> list[SealedRef | None]:
    return [state.secret, *(old.sealed for old in state.old_secrets)]


def _check_expected(command: WebhookCommand, sequence: int) -> None:
    if command.expected_sequence is not None and command.expected_sequence != sequence:
        raise KtError(
            "precondition_failed",
            "The webhook was changed since the ETag in If-Match was read; nothing was stored.",
            "Read it again, then repeat the change with the new ETag.",
        )


def _until(loaded: Loaded[Webhook], sequence: int) -> Loaded[Webhook]:
    history = tuple(e for e in loaded.history if e.sequence <= sequence)
    return Loaded(WEBHOOK.fold(e.event for e in history), history)


def _outcome(webhook: str, loaded: Loaded[Webhook], *, replayed: bool) -> WebhookOutcome:
    state, first, last = loaded.state, loaded.history[0], loaded.history[-1]
    return WebhookOutcome(
        id=webhook,
        url=state.url,
        event_types=state.event_types,
        description=state.description,
        enabled=state.enabled,
        disabled_reason=state.disabled_reason,
        overlap_until=max((old.until for old in state.old_secrets), default=""),
        sequence=last.sequence,
        created_at=first.metadata.time,
        updated_at=last.metadata.time,
        replayed=replayed,
    )

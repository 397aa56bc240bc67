"""The other services and the streams, over the bus."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from nats.aio.client import Client
from nats.errors import Error as NatsError

from libs.common.clock import Clock, rfc3339
from libs.common.direct_get import DirectReader
from libs.common.errors import KtError
from libs.common.event_store import EventStore
from libs.common.events import Actor, Metadata, Origin, Resource, encode
from libs.common.events.webhook import (
    WebhookDelivered,
    WebhookDeliveryFailed,
    WebhookRedeliveryRequested,
    WebhookTested,
)
from libs.common.ids import IdFactory, derived_id
from libs.common.messaging.connection import WITHIN_REQUEST_TIMEOUT_S, ensure_connected
from libs.common.messaging.rpc import RpcClient
from libs.common.protocol.command import WEBHOOK_UPKEEP, WebhookUpkeep
from libs.common.protocol.keys import SIGN_WEBHOOK, SealedSecret, SignWebhookRequest
from libs.common.protocol.parties import Caller
from libs.common.protocol.webhooks import DeliveryView
from libs.common.stream_reader import stream_range
from libs.common.subjects import ACCESS, EVENTS, access_subject
from services.webhooks.application.ports import Claimed, Due, Outcome, Position
from services.webhooks.domain.message import head_of
from services.webhooks.domain.subscription import SigningSecret

SOURCE: Final = "keeptrusts/webhooks"
KIND: Final = "webhook"
REQUEST_KIND: Final = "webhook_request"
"""What is asked for has a subject of its own, so that outcomes follow on each other on theirs."""

_ACTOR: Final = Actor("service", "webhooks")


class StreamMessages:
    """Implements ``Messages``."""

    def __init__(self, nc: Client) -> None:
        self._nc = nc
        self._readers = {stream: DirectReader(nc, stream) for stream in (EVENTS, ACCESS)}

    async def body(self, position: Position) -> bytes | None:
        message = await self._readers[position.stream].at(position.sequence)
        if message is not None:
            return message.body
        first, _ = await stream_range(self._nc, position.stream)
        if first > position.sequence:
            return None
        raise KtError("unavailable", "The stream does not hold the event yet, or can't read it.")


class BusSigner:
    """Implements ``Signer``."""

    def __init__(self, client: RpcClient) -> None:
        self._client = client

    async def sign(self, claimed: Claimed, secrets: Sequence[SigningSecret], timestamp: int, payload: bytes) -> str:
        request = SignWebhookRequest(
            org=claimed.org,
            webhook=claimed.webhook,
            secrets=[SealedSecret(id=secret.id, digest=secret.digest) for secret in secrets],
            message_id=claimed.event_id,
            timestamp=timestamp,
            payload=payload,
        )
        return (await self._client.call(SIGN_WEBHOOK, request, timeout_s=WITHIN_REQUEST_TIMEOUT_S)).signature


class BusUpkeeper:
    """Implements ``Upkeeper``. The command id follows from the cause, so that asking again changes nothing."""

    def __init__(self, client: RpcClient) -> None:
        self._client = client

    async def retire_secrets(self, due: Due) -> None:
        await self._ask(due, "retire_secrets", "")

    async def disable(self, due: Due, reason: str) -> None:
        await self._ask(due, "disable", reason)

    async def _ask(self, due: Due, command: str, reason: str) -> None:
        command_id = derived_id("webhook", command, due.org, due.webhook, rfc3339(due.since))
        caller = Caller(org=due.org, actor_type=_ACTOR.type, actor_id=_ACTOR.id, request_id=command_id)
        request = {"command": command, "command_id": command_id, "webhook": due.webhook, "reason": reason}
        await self._client.call(WEBHOOK_UPKEEP, WebhookUpkeep.model_validate({**request, "caller": caller}))


class StreamRecorder:
    """Implements ``Recorder``. The bytes of an outcome's event follow from the outcome alone, so that one which was
    appended is recognised."""

    def __init__(self, nc: Client) -> None:
        self._store = EventStore(nc, ACCESS)

    async def record(self, org: str, webhook: str, outcome: Outcome, after: int) -> int:
        origin = Origin(outcome.delivery)
        metadata = Metadata(outcome.id, rfc3339(outcome.finished_at), org, SOURCE, _ACTOR, origin)
        wire_name, body = encode(_event(outcome), Resource(KIND, webhook), metadata)
        return await self._store.append(access_subject(org, KIND, webhook), wire_name, body, expected=after)

    async def recorded(self, org: str, webhook: str, after: int) -> Sequence[tuple[int, str]]:
        messages = await self._store.reader.all(access_subject(org, KIND, webhook), after)
        return [(message.sequence, head_of(message.body).id) for message in messages]


def _event(outcome: Outcome) -> WebhookDelivered | WebhookDeliveryFailed:
    about = (outcome.delivery, outcome.event_id, outcome.event_type, outcome.attempts, outcome.answered)
    return WebhookDelivered(*about) if outcome.delivered else WebhookDeliveryFailed(*about, outcome.reason)


class StreamRequestLog:
    """Implements ``RequestLog``."""

    def __init__(self, nc: Client, clock: Clock, ids: IdFactory) -> None:
        self._nc = nc
        self._js = nc.jetstream(timeout=WITHIN_REQUEST_TIMEOUT_S)
        self._clock = clock
        self._ids = ids

    async def tested(self, caller: Caller, webhook: str, event_id: str) -> Position:
        return Position(ACCESS, await self._record(WebhookTested(), event_id, webhook, caller))

    async def redelivery_requested(self, caller: Caller, webhook: str, delivery: DeliveryView) -> None:
        event = WebhookRedeliveryRequested(delivery.id, delivery.event_id, delivery.event_type)
        await self._record(event, self._ids.new(), webhook, caller)

    async def _record(self, event: object, event_id: str, webhook: str, caller: Caller) -> int:
        ensure_connected(self._nc)
        metadata = Metadata(event_id, rfc3339(self._clock.now()), caller.org, SOURCE, caller.actor, caller.origin)
        _, body = encode(event, Resource(KIND, webhook), metadata)
        try:
            ack = await self._js.publish(access_subject(caller.org, REQUEST_KIND, webhook), body, stream=ACCESS)
        except (NatsError, TimeoutError):
            raise KtError(
                "unavailable", "The request could not be put on record, so nothing was begun.", "Try again."
            ) from None
        return ack.seq

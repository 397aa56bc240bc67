"""/v1/webhooks"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query, Response
from pydantic import BaseModel

from libs.common.auth.scopes import WEBHOOKS_READ, WEBHOOKS_WRITE
from libs.common.protocol.command import WebhookOutcome
from services.api.adapters.http.changes import CHANGED, CREATED, DELETED, READ
from services.api.adapters.http.contract import BODY, needs
from services.api.adapters.http.dependencies import Asked, IfNoneMatch, ToChange, ToCreate
from services.api.adapters.http.responses import respond
from services.api.adapters.http.route import ApiRoute
from services.api.adapters.http.webhook_models import (
    CreateWebhook,
    DeliveriesQuery,
    Delivery,
    DeliveryList,
    RotateWebhookSecret,
    UpdateWebhook,
    Webhook,
    WebhookList,
    WebhooksQuery,
    WebhookWithSecret,
)
from services.api.domain.etag import etag, is_unchanged

PATH = "/v1/webhooks"
_WRITE = ("invalid_request", "conflict", "idempotency_mismatch", "outcome_unknown", *BODY)
_CHANGE = ("not_found", "precondition_failed", *_WRITE)
_SECRET = ("invalid_value", "undecryptable")
_ID = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$"

WebhookId = Annotated[str, Path(pattern=_ID)]
DeliveryId = Annotated[str, Path(pattern=_ID)]

router = APIRouter(prefix=PATH, tags=["webhooks"], route_class=ApiRoute)


@router.post(
    "",
    status_code=201,
    response_model=WebhookWithSecret,
    **needs(WEBHOOKS_WRITE, "already_exists", *_WRITE, *_SECRET, responses=CREATED),
)
async def create_webhook(body: CreateWebhook, change: ToCreate) -> Response:
    """Tell an address of events. Its secret is in the answer to this request, and can't be shown again."""
    changed = await change.door.webhooks.create(
        change.call,
        change.conditions,
        url=body.url,
        event_types=body.event_types,
        description=body.description,
        secret=body.secret,
    )
    location = f"{PATH}/{changed.outcome.id}"
    return _changed(changed.outcome, WebhookWithSecret.once(changed), 201, location)


@router.get("", response_model=WebhookList, **needs(WEBHOOKS_READ, "invalid_request", "invalid_cursor"))
async def list_webhooks(query: Annotated[WebhooksQuery, Query()], ask: Asked) -> Response:
    """A page of the webhooks."""
    items, cursor = await ask.door.webhooks.page(ask.call, query.cursor, query.limit)
    return respond(WebhookList(items=[Webhook.of(item) for item in items], next_cursor=cursor))


@router.get(
    "/{webhook}", response_model=Webhook, **needs(WEBHOOKS_READ, "not_found", "invalid_request", responses=READ)
)
async def get_webhook(webhook: WebhookId, ask: Asked, if_none_match: IfNoneMatch = None) -> Response:
    """One webhook as of now."""
    state = await ask.door.webhooks.get(ask.call, webhook)
    tag = {"ETag": etag(state.sequence)}
    if is_unchanged(if_none_match, state.sequence):
        return Response(status_code=304, headers=tag)
    return respond(Webhook.of(state), headers=tag)


@router.patch("/{webhook}", response_model=Webhook, **needs(WEBHOOKS_WRITE, *_CHANGE, responses=CHANGED))
async def update_webhook(webhook: WebhookId, body: UpdateWebhook, change: ToChange) -> Response:
    """Change address, event types or description, or switch it off and on; also as `application/merge-patch+json`.

    Switched off, what was on its way to it fails with the reason `disabled`, and can be delivered again later.
    """
    outcome = await change.door.webhooks.update(change.call, change.conditions, webhook, **body.members)
    return _changed(outcome, Webhook.of(outcome))


@router.delete(
    "/{webhook}",
    status_code=204,
    **needs(
        WEBHOOKS_WRITE,
        "not_found",
        "precondition_failed",
        "invalid_request",
        "conflict",
        "idempotency_mismatch",
        "outcome_unknown",
        responses=DELETED,
    ),
)
async def delete_webhook(webhook: WebhookId, change: ToChange) -> Response:
    """Delete the webhook and destroy its secrets."""
    outcome = await change.door.webhooks.delete(change.call, change.conditions, webhook)
    return Response(status_code=204, headers=_replayed(outcome))


@router.post(
    "/{webhook}/rotate-secret",
    response_model=WebhookWithSecret,
    **needs(WEBHOOKS_WRITE, *_CHANGE, *_SECRET, responses=CHANGED),
)
async def rotate_webhook_secret(webhook: WebhookId, body: RotateWebhookSecret, change: ToChange) -> Response:
    """Give the webhook a new secret. Deliveries carry signatures of the old one too until the overlap is over."""
    changed = await change.door.webhooks.rotate_secret(
        change.call, change.conditions, webhook, secret=body.secret, overlap_s=body.overlap_s
    )
    return _changed(changed.outcome, WebhookWithSecret.once(changed))


@router.get(
    "/{webhook}/deliveries",
    response_model=DeliveryList,
    **needs(WEBHOOKS_READ, "not_found", "invalid_request", "invalid_cursor"),
)
async def list_deliveries(webhook: WebhookId, query: Annotated[DeliveriesQuery, Query()], ask: Asked) -> Response:
    """A page of what was delivered, is on its way, or failed."""
    items, cursor = await ask.door.webhooks.deliveries(ask.call, webhook, query.status, query.cursor, query.limit)
    return respond(DeliveryList(items=[Delivery.of(item) for item in items], next_cursor=cursor))


@router.post(
    "/{webhook}/deliveries/{delivery}/redeliver",
    status_code=202,
    response_model=Delivery,
    **needs(WEBHOOKS_WRITE, "not_found", "invalid_request", "conflict"),
)
async def redeliver(webhook: WebhookId, delivery: DeliveryId, ask: Asked) -> Response:
    """Deliver an event once more, with the id it had. One that is on its way already stays as it is."""
    return respond(Delivery.of(await ask.door.webhooks.redeliver(ask.call, webhook, delivery)), 202)


@router.post(
    "/{webhook}/test",
    status_code=202,
    response_model=Delivery,
    **needs(WEBHOOKS_WRITE, "not_found", "invalid_request", "conflict"),
)
async def test_webhook(webhook: WebhookId, change: ToCreate) -> Response:
    """Deliver an event of type `kt.webhook.tested.v1` to this webhook alone."""
    return respond(Delivery.of(await change.door.webhooks.test(change.call, change.conditions, webhook)), 202)


def _changed(outcome: WebhookOutcome, body: BaseModel, status: int = 200, location: str = "") -> Response:
    tags = {"ETag": etag(outcome.sequence), **_replayed(outcome)}
    if location:
        tags["Location"] = location
    return respond(body, status, tags, store=not isinstance(body, WebhookWithSecret))


def _replayed(outcome: WebhookOutcome) -> dict[str, str]:
    return {"Idempotency-Replayed": "true"} if outcome.replayed else {}

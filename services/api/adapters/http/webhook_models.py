"""Bodies of the webhook routes."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PlainValidator, WithJsonSchema, model_validator
from pydantic.config import JsonDict

from libs.common.errors import FieldProblem, KtError
from libs.common.events.patterns import checked_pattern
from libs.common.protocol.command import WebhookOutcome
from libs.common.protocol.webhooks import DeliveryView, WebhookView
from libs.common.secret import REDACTED, Secret
from libs.common.webhook_secret import EXPECTED, signing_key
from libs.common.webhook_url import check_holds_no_credential
from services.api.adapters.http.fields import Body, Description, named, problem
from services.api.application.webhooks import Changed
from services.api.domain.lifetime import duration

MAX_EVENT_TYPES: Final = 50
MAX_URL: Final = 2048
OVERLAP_EXPECTED: Final = "between 0s and 7d, such as 24h"
_EXAMPLE: Final[JsonDict] = {
    "id": "8b0f2f7e-3c39-5d0f-9a51-5c1c5e3a7d10",
    "url": "https://receiver.example.com/keeptrusts",
    "event_types": ["kt.config_variable.*"],
    "description": "Tells the on-call channel",
    "enabled": False,
    "disabled_reason": "gone",
    "overlap_until": "2026-11-24T07:39:03.192164Z",
    "sequence": 42,
    "created_at": "2026-11-23T07:39:03.192164Z",
    "updated_at": "2026-11-23T07:39:03.192164Z",
}


def _url(url: str) -> str:
    """Where it leads is looked at later; here only that it can be sent on."""
    if not 1 <= len(url) <= MAX_URL:
        raise problem("invalid_request", "url", "is empty or too long", f"1 to {MAX_URL:,} characters")
    check_holds_no_credential(url)
    return url


def _event_types(patterns: list[str]) -> list[str]:
    for position, pattern in enumerate(patterns):
        try:
            checked_pattern(pattern)
        except KtError as error:
            raise replace(error, fields=(FieldProblem(f"event_types.{position}", error.detail),)) from None
    if len(set(patterns)) != len(patterns):
        raise problem("invalid_request", "event_types", "names one twice", "each of them once")
    return patterns


def _secret(value: Any) -> Secret:
    if not isinstance(value, str):
        raise problem("invalid_request", "secret", "is not text", "text")
    try:
        secret = Secret.from_text(value)
    except UnicodeEncodeError:
        raise problem("invalid_value", "secret", "is not valid Unicode text", EXPECTED) from None
    signing_key(secret)
    return secret


def _overlap(text: str) -> str:
    duration("overlap", text, OVERLAP_EXPECTED)
    return text


Url = Annotated[
    str,
    AfterValidator(_url),
    WithJsonSchema({"type": "string", "format": "uri", "minLength": 1, "maxLength": MAX_URL}),
]
EventTypes = Annotated[
    list[str],
    Field(min_length=1, max_length=MAX_EVENT_TYPES),
    AfterValidator(_event_types),
]
GivenSecret = Annotated[
    Secret,
    PlainValidator(named(_secret)),
    WithJsonSchema(
        {
            "type": "string",
            "format": "password",
            "writeOnly": True,
            "description": f"{EXPECTED}. Never shown again. Left out, one is made and shown in the answer, once.",
        }
    ),
]


class CreateWebhook(Body):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "url": "https://receiver.example.com/keeptrusts",
                    "event_types": ["kt.config_variable.*"],
                    "description": "Tells the on-call channel",
                }
            ]
        }
    )

    url: Url
    event_types: EventTypes
    description: Description = ""
    secret: GivenSecret | None = None


class UpdateWebhook(Body):
    """A merge patch (RFC 7396): what is left out stays, a null description is removed. So does the secret."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"enabled": False}]})

    url: Url | None = None
    event_types: EventTypes | None = None
    description: Description | None = None
    enabled: bool | None = None

    @model_validator(mode="before")
    @classmethod
    def _check(cls, document: Any) -> Any:
        if isinstance(document, dict) and "secret" in document:
            raise problem("invalid_request", "secret", "can't be changed by PATCH", "a POST to /rotate-secret")
        if document == {}:
            raise problem(
                "invalid_request", "the request", "changes nothing", "url, event_types, description or enabled"
            )
        for name in ("url", "event_types", "enabled"):
            if isinstance(document, dict) and name in document and document[name] is None:
                raise problem("invalid_request", name, "is null", "a value, because it can't be removed")
        return document

    @property
    def members(self) -> dict[str, Any]:
        found = {name: getattr(self, name) for name in self.model_fields_set}
        if "description" in found:
            found["description"] = found["description"] or ""
        if "event_types" in found:
            found["event_types"] = tuple(found["event_types"])
        return found


class RotateWebhookSecret(Body):
    """``overlap`` is how long the secrets before stay valid as well; 24h when left out, 0s to end them at once."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"overlap": "24h"}]})

    secret: GivenSecret | None = None
    overlap: Annotated[str, Field(max_length=16), AfterValidator(_overlap)] | None = None

    @property
    def overlap_s(self) -> int | None:
        return None if self.overlap is None else duration("overlap", self.overlap, OVERLAP_EXPECTED)


class WebhooksQuery(Body):
    model_config = ConfigDict(strict=False)

    limit: Annotated[int, Field(ge=1, le=500)] = 50
    cursor: Annotated[str, Field(max_length=1024, description="`next_cursor` of the page before")] = ""


class DeliveriesQuery(WebhooksQuery):
    status: Literal["pending", "delivered", "failed"] | None = None


class Webhook(BaseModel):
    """A webhook, never with its secret. ``sequence`` is what its ETag holds.

    ``disabled_reason`` is set when the system disabled it (``gone``: its address answered 410); ``overlap_until``
    while older secrets sign as well.
    """

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})

    id: str
    url: str
    event_types: list[str]
    description: str
    enabled: bool
    disabled_reason: str | None
    overlap_until: str | None
    sequence: int
    created_at: str
    updated_at: str

    @classmethod
    def of(cls, state: WebhookView | WebhookOutcome) -> Webhook:
        return cls(**_members(state))


class WebhookWithSecret(Webhook):
    """``secret`` is null where the caller gave it, or where an earlier request with this Idempotency-Key did it."""

    model_config = ConfigDict(json_schema_extra={"examples": [{**_EXAMPLE, "secret": REDACTED}]})

    secret: str | None

    @classmethod
    def once(cls, changed: Changed) -> WebhookWithSecret:
        secret = None if changed.secret is None else changed.secret.reveal().decode()
        return cls(**_members(changed.outcome), secret=secret)


class WebhookList(BaseModel):
    """In the order they were created. ``next_cursor`` is null on the last page."""

    items: list[Webhook]
    next_cursor: str | None


class Delivery(BaseModel):
    """One event on its way to one webhook. ``answered`` is the last HTTP status, null without an answer.

    ``reason`` says what was wrong with the last attempt.
    """

    id: str
    event_id: str
    event_type: str
    status: Literal["pending", "delivered", "failed"]
    attempts: int
    answered: int | None
    reason: str | None
    created_at: str
    next_attempt_at: str | None
    finished_at: str | None

    @classmethod
    def of(cls, view: DeliveryView) -> Delivery:
        return cls(
            id=view.id,
            event_id=view.event_id,
            event_type=view.event_type,
            status=view.status,
            attempts=view.attempts,
            answered=view.answered or None,
            reason=view.reason or None,
            created_at=view.created_at,
            next_attempt_at=view.next_attempt_at or None,
            finished_at=view.finished_at or None,
        )


class DeliveryList(BaseModel):
    """Newest first. ``next_cursor`` is null on the last page."""

    items: list[Delivery]
    next_cursor: str | None


def _members(state: WebhookView | WebhookOutcome) -> dict[str, Any]:
    return {
        "id": state.id,
        "url": state.url,
        "event_types": list(state.event_types),
        "description": state.description,
        "enabled": state.enabled,
        "disabled_reason": state.disabled_reason or None,
        "overlap_until": state.overlap_until or None,
        "sequence": state.sequence,
        "created_at": state.created_at,
        "updated_at": state.updated_at,
    }

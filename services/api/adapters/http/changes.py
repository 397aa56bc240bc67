"""How changes of a secret of any kind are answered, and how they may fail."""

from __future__ import annotations

from typing import Final

from fastapi import Response
from pydantic import BaseModel

from libs.common.protocol.command import SecretOutcome
from services.api.adapters.http.contract import BODY, Responses, headers
from services.api.adapters.http.responses import respond
from services.api.domain.etag import etag

NAME: Final = ("invalid_name", "name_looks_like_secret")
VALUE: Final = ("invalid_value", "redacted_value", "undecryptable", *BODY)
WRITE: Final = ("invalid_request", "conflict", "idempotency_mismatch", "outcome_unknown", *NAME)
CHANGE: Final = ("not_found", "precondition_failed", *WRITE)
CREATED: Final[Responses] = {201: headers("Location", "ETag", "Idempotency-Replayed")}
CHANGED: Final[Responses] = {200: headers("ETag", "Idempotency-Replayed")}
DELETED: Final[Responses] = {204: headers("Idempotency-Replayed")}
READ: Final[Responses] = {
    200: headers("ETag"),
    304: {"description": "The state named by If-None-Match is current"},
}


def changed(outcome: SecretOutcome, body: BaseModel, status: int = 200, location: str = "") -> Response:
    tags = {"ETag": etag(outcome.sequence), **_replayed(outcome)}
    if location:
        tags["Location"] = location
    return respond(body, status, tags)


def deleted(outcome: SecretOutcome) -> Response:
    return Response(status_code=204, headers=_replayed(outcome))


def _replayed(outcome: SecretOutcome) -> dict[str, str]:
    return {"Idempotency-Replayed": "true"} if outcome.replayed else {}

"""What a route demands and how it may fail: written once, enforced by :mod:`route`, published in the OpenAPI."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from pydantic import BaseModel, ConfigDict

from libs.common.errors import CATALOGUE
from services.api.adapters.http.problems import MEDIA_TYPE

SCHEME: Final = "token"
BODY: Final = (
    "invalid_request",
    "invalid_json",
    "unsupported_media_type",
    "body_too_large",
    "request_timeout",
)
"""How reading a body may fail."""

_HEADERS: Final = {
    "ETag": "The state of the resource, for If-Match and If-None-Match",
    "Location": "Where the new resource is",
    "Keeptrusts-Export": "The export's id, to go on with it",
    "Keeptrusts-Export-Entries": "How many entries the export covers; with a filter, it holds fewer",
    "Idempotency-Replayed": "`true` when an earlier request with this Idempotency-Key did it",
}
_ALWAYS: Final = ("overloaded", "internal")
_WITH_TOKEN: Final = ("unauthenticated", "forbidden", "unavailable")


class FieldError(BaseModel):
    """One thing that is wrong with one field; never what was sent there."""

    field: str
    problem: str
    expected: str


class Problem(BaseModel):
    """A problem document (RFC 9457). ``code`` is stable; programs decide by it."""

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={
            "examples": [
                {
                    "type": "urn:keeptrusts:error:invalid_name",
                    "title": "The name is not valid",
                    "status": 422,
                    "detail": "The name contains a slash at character 7; expected ASCII letters, digits, "
                    "underscores, hyphens and dots, 1 to 128 of them.",
                    "code": "invalid_name",
                    "hint": "",
                    "request_id": "019aaf9c-6b1e-7c3a-9a53-0d7d3a2f4b11",
                    "errors": [
                        {"field": "name", "problem": "The name contains a slash at character 7.", "expected": ""}
                    ],
                }
            ]
        },
    )

    type: str
    title: str
    status: int
    detail: str
    code: str
    hint: str
    request_id: str
    errors: list[FieldError] | None = None


Responses = dict[int | str, dict[str, Any]]


def needs(scope: str, *codes: str, responses: Responses | None = None) -> dict[str, Any]:
    """Keyword arguments for a route that takes a token with ``scope``; ``codes`` are the errors it may answer."""
    return _contract([{SCHEME: [scope]}], (*codes, *_WITH_TOKEN), responses)


def public(*codes: str, responses: Responses | None = None) -> dict[str, Any]:
    """Keyword arguments for a route that anybody may call."""
    return _contract([], codes, responses)


def headers(*names: str) -> dict[str, Any]:
    """Response headers, for the description of a response."""
    return {"headers": {name: {"description": _HEADERS[name], "schema": {"type": "string"}} for name in names}}


def required_scope(extra: Mapping[str, Any] | None) -> str | None:
    """The scope a route was declared with; None for a public one.

    Raises:
        ValueError: it was declared with neither: routes are closed unless they say otherwise.
    """
    if extra is None or "security" not in extra:
        raise ValueError("a route states needs(scope) or public()")
    security: list[Mapping[str, list[str]]] = extra["security"]
    return security[0][SCHEME][0] if security else None


def _contract(
    security: list[dict[str, list[str]]], codes: Iterable[str], responses: Responses | None
) -> dict[str, Any]:
    problems = _problems((*codes, *_ALWAYS))
    return {"openapi_extra": {"security": security}, "responses": {**(responses or {}), **problems}}


def _problems(codes: Iterable[str]) -> Responses:
    by_status: dict[int, list[str]] = {}
    for code in dict.fromkeys(codes):
        by_status.setdefault(CATALOGUE[code].status, []).append(code)
    return {
        status: {
            "description": "; ".join(f"`{code}`: {CATALOGUE[code].title}" for code in found),
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
        for status, found in sorted(by_status.items())
    }

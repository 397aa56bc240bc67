"""Errors as problem documents (RFC 9457). Nothing of what the caller sent is repeated in one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

import orjson
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.routing import Route

from libs.common.errors import FieldProblem, KtError

MEDIA_TYPE: Final = "application/problem+json"
RETRY_AFTER_S: Final = "1"

_PLAIN: Final[Mapping[str, tuple[str, str]]] = {
    "missing": ("is missing", ""),
    "string_type": ("is not text", "text"),
    "bool_type": ("is not a boolean", "true or false"),
    "bool_parsing": ("is not a boolean", "true or false"),
    "int_type": ("is not a whole number", "a whole number"),
    "int_parsing": ("is not a whole number", "a whole number"),
    "int_from_float": ("is not a whole number", "a whole number"),
    "int_parsing_size": ("is out of range", "a whole number"),
    "list_type": ("is not a list", "a list"),
    "model_type": ("is not an object", "a JSON object"),
    "model_attributes_type": ("is not an object", "a JSON object"),
}
_BOUNDED: Final[Mapping[str, tuple[str, str]]] = {
    "too_short": ("has too few entries", "at least {min_length}"),
    "too_long": ("has too many entries", "at most {max_length}"),
    "string_too_short": ("is too short", "at least {min_length} characters"),
    "string_too_long": ("is too long", "at most {max_length} characters"),
    "greater_than_equal": ("is too small", "at least {ge}"),
    "less_than_equal": ("is too large", "at most {le}"),
    "literal_error": ("is none of the known ones", "{expected}"),
}


def problem_response(error: KtError, request_id: str, headers: Mapping[str, str] | None = None) -> Response:
    kind = error.kind
    document: dict[str, Any] = {
        **error.extra,
        "type": f"urn:keeptrusts:error:{error.code}",
        "title": kind.title,
        "status": kind.status,
        "detail": error.detail,
        "code": error.code,
        "hint": error.hint,
        "request_id": request_id,
    }
    if error.fields:
        document["errors"] = [{"field": f.field, "problem": f.problem, "expected": f.expected} for f in error.fields]
    sent = {"Cache-Control": "no-store", **(headers or {})}
    if kind.status == HTTPStatus.SERVICE_UNAVAILABLE:
        sent["Retry-After"] = RETRY_AFTER_S
    return Response(orjson.dumps(document), kind.status, sent, MEDIA_TYPE)


def invalid(problems: Sequence[FieldProblem]) -> KtError:
    """One ``invalid_request`` for all that is wrong."""
    said = (f"{p.field} {p.problem}" + (f" (expected {p.expected})" if p.expected else "") for p in problems)
    return KtError("invalid_request", f"The request is not valid: {'; '.join(said)}.", fields=tuple(problems))


def install_problem_handlers(app: FastAPI) -> None:
    """Replace every error body of FastAPI and Starlette."""
    app.add_exception_handler(KtError, _on_expected)
    app.add_exception_handler(HTTPException, _on_http)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(Exception, _on_unexpected)


async def _on_expected(request: Request, error: Exception) -> Response:
    assert isinstance(error, KtError)  # noqa: S101 - by registration
    if error.code == "forbidden" and (call := getattr(request.state, "call", None)) is not None:
        operation = request.scope["route"].operation_id
        request.app.state.door.denials.count(call, operation, error.extra.get("scope", ""))
    return problem_response(error, _request_id(request), _challenge(request, error))


async def _on_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - by registration
    if error.status_code == HTTPStatus.NOT_FOUND:
        found = KtError("not_found", "There is no such route.", "GET /openapi.json describes those there are.")
        return problem_response(found, _request_id(request))
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        allowed = _allowed_methods(request)
        refused = KtError("method_not_allowed", f"This route takes {allowed}.")
        return problem_response(refused, _request_id(request), {"Allow": allowed})
    return problem_response(KtError("invalid_request", "The request can't be read."), _request_id(request))


async def _on_invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - by registration
    return problem_response(invalid([_field_problem(e) for e in error.errors()]), _request_id(request))


async def _on_unexpected(request: Request, _error: Exception) -> Response:
    failed = KtError("internal", "Something failed inside.", "Try again; the log has the details under request_id.")
    return problem_response(failed, _request_id(request))


def _field_problem(error: Mapping[str, Any]) -> FieldProblem:
    where, *path = error["loc"]
    field = ".".join(map(str, path)) or str(where)
    kind, context = error["type"], error.get("ctx", {})
    if kind in _BOUNDED:
        problem, expected = _BOUNDED[kind]
        return FieldProblem(field, problem, expected.format_map(context))
    problem, expected = _PLAIN.get(kind, ("is not valid", ""))
    return FieldProblem(field, problem, expected)


def _challenge(request: Request, error: KtError) -> Mapping[str, str]:
    """``WWW-Authenticate`` as RFC 6750 section 3 asks for."""
    if error.code == "unauthenticated":
        sent = "authorization" in request.headers
        return {"WWW-Authenticate": 'Bearer realm="keeptrusts"' + (', error="invalid_token"' if sent else "")}
    if error.code == "forbidden" and "scope" in error.extra:
        scope = error.extra["scope"]
        return {"WWW-Authenticate": f'Bearer realm="keeptrusts", error="insufficient_scope", scope="{scope}"'}
    return {}


def _allowed_methods(request: Request) -> str:
    """All methods of the path, which may be spread over several routes."""
    path = request.scope["route"].path
    routes = (route for route in request.app.state.routes if isinstance(route, Route))
    return ", ".join(sorted({method for r in routes if r.path == path for method in r.methods or ()}))


def _request_id(request: Request) -> str:
    return str(request.state.request_id)

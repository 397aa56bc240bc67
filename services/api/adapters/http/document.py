"""The OpenAPI 3.1 document of the door."""

from __future__ import annotations

from typing import Any, Final

import orjson
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from services.api.adapters.http.contract import SCHEME, Problem

VERSION: Final = "1.0.0"
_DESCRIPTION: Final = """\
Secret management for AI provider keys.

Send `Authorization: Bearer <token>`. Bodies are JSON in UTF-8, at most 262,144 bytes, without unknown or repeated \
members. Errors are problem documents (RFC 9457) with a stable `code`. Each response carries `X-Request-Id`: the \
caller's, when it is 1 to 64 of letters, digits, `.`, `_` and `-` and not in the shape of a key, or a new one."""


def build_document(app: FastAPI) -> dict[str, Any]:
    document = get_openapi(
        title="keeptrusts", version=VERSION, description=_DESCRIPTION, routes=app.routes, openapi_version="3.1.0"
    )
    components = document.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    problem = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas |= problem.pop("$defs", {})
    schemas["Problem"] = problem
    components["securitySchemes"] = {
        SCHEME: {
            "type": "http",
            "scheme": "bearer",
            "bearerFormat": "JWT",
            "description": "A token of `kt token issue`. The scope that a route needs is listed with it.",
        }
    }
    _add_merge_patch(document)
    return document


def document_bytes(app: FastAPI) -> bytes:
    """Built once, on the first request for it."""
    built: bytes | None = getattr(app.state, "document", None)
    if built is None:
        built = app.state.document = orjson.dumps(build_document(app), option=orjson.OPT_SORT_KEYS)
    return built


def _add_merge_patch(document: dict[str, Any]) -> None:
    for path in document["paths"].values():
        if "patch" in path:
            content = path["patch"]["requestBody"]["content"]
            content["application/merge-patch+json"] = content["application/json"]

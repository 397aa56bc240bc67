"""Successful responses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from fastapi import Response
from pydantic import BaseModel

JSON_TYPE: Final = "application/json"
NO_STORE: Final = {"Cache-Control": "no-store"}
_REVALIDATE: Final = {"Cache-Control": "private, no-cache"}


def respond(
    body: BaseModel | bytes, status: int = 200, headers: Mapping[str, str] | None = None, *, store: bool = True
) -> Response:
    """``body`` as JSON. Without ``store`` no cache may keep it, because it holds a value or a token."""
    raw = body if isinstance(body, bytes) else body.model_dump_json().encode()
    cache = _REVALIDATE if store else NO_STORE
    return Response(raw, status, {**cache, **(headers or {})}, JSON_TYPE)

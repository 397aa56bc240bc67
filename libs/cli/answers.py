"""What an HTTP answer means: a document, or a problem (RFC 9457) as a :class:`KtError`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from libs.common.errors import CATALOGUE, FieldProblem, KtError

_MEMBERS: Final = frozenset({"type", "title", "status", "detail", "code", "hint", "errors", "exit_code"})
_BY_STATUS: Final[Mapping[int, str]] = {
    400: "invalid_request",
    401: "unauthenticated",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    409: "conflict",
    412: "precondition_failed",
    413: "body_too_large",
    415: "unsupported_media_type",
    422: "invalid_request",
    429: "overloaded",
    502: "unreachable",
    503: "unavailable",
    504: "unreachable",
}
_FAILED: Final = 400
_NO_CONTENT: Final = 204


@dataclass(frozen=True, slots=True)
class Answer:
    """``document`` is the JSON body, None without one; ``etag`` as the server wrote it; ``replayed``: it was carried
    out before, and this is the outcome of then."""

    status: int
    document: Any
    etag: str
    request_id: str
    problem: KtError | None = None
    replayed: bool = False


def read_answer(status: int, headers: Mapping[str, str], raw: bytes) -> Answer:
    """Read an answer; a failure is in its ``problem``."""
    found = {name.lower(): value for name, value in headers.items()}
    etag, request_id = found.get("etag", ""), found.get("x-request-id", "")
    if status == _NO_CONTENT or (not raw and status < _FAILED):
        return Answer(status, None, etag, request_id)
    try:
        document = json.loads(raw)
    except ValueError:
        return Answer(status, None, etag, request_id, _stranger(status, found.get("content-type", "")))
    if 200 <= status < 300:  # noqa: PLR2004
        return Answer(status, document, etag, request_id, replayed="idempotency-replayed" in found)
    members = document if isinstance(document, dict) else {}
    return Answer(status, document, etag, request_id, problem(status, members, request_id))


def problem(status: int, members: Mapping[str, Any], request_id: str = "") -> KtError:
    """A problem document as an error; what the catalogue does not know is judged by ``status``."""
    code = members.get("code")
    if not isinstance(code, str) or code not in CATALOGUE:
        code = _BY_STATUS.get(status, "internal")
    extra = {name: value for name, value in members.items() if name not in _MEMBERS}
    if request_id:
        extra.setdefault("request_id", request_id)
    return KtError(
        code=code,
        detail=str(members.get("detail") or f"The server answered with HTTP status {status}."),
        hint=str(members.get("hint") or ""),
        fields=tuple(_fields(members.get("errors"))),
        extra=extra,
    )


def _fields(errors: object) -> list[FieldProblem]:
    found = [error for error in errors if isinstance(error, dict)] if isinstance(errors, list) else []
    return [
        FieldProblem(str(e.get("field", "")), str(e.get("problem", "")), str(e.get("expected", ""))) for e in found
    ]


def _stranger(status: int, content_type: str) -> KtError:
    kind = content_type.partition(";")[0].strip() or "no content type"
    return KtError(
        "unreachable",
        f"Something else answers at this address (HTTP status {status}, {kind}); expected JSON from keeptrusts.",
        "Check the address: --api-url, KEEPTRUSTS_API_URL or --gateway-url.",
    )

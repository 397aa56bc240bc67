"""Request bodies: bounded in size, JSON and nothing else, each member once. Their time is bounded by the connection
(:mod:`protocol`)."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any, Final

import orjson
from starlette.requests import ClientDisconnect, Request

from libs.common.errors import KtError

MAX_BODY_BYTES: Final = 256 * 1024
_MAX_DIGITS: Final = 10
JSON: Final = "application/json"
MERGE_PATCH: Final = "application/merge-patch+json"


class JsonRequest(Request):
    """A request whose body was read and parsed before FastAPI looks at it."""

    def __init__(self, request: Request, raw: bytes, document: Any) -> None:
        super().__init__(request.scope, request.receive)
        self._raw = raw
        self._document = document

    async def body(self) -> bytes:
        return self._raw

    async def json(self) -> Any:
        return self._document


async def read_json(request: Request, media_types: Collection[str]) -> JsonRequest:
    """Raises: KtError ``unsupported_media_type``, ``body_too_large``, ``request_timeout`` or ``invalid_json``."""
    _check_media_type(request.headers.get("content-type", ""), media_types)
    raw = await _read(request)
    return JsonRequest(request, raw, parse_json(raw))


def parse_json(raw: bytes) -> Any:
    """A JSON text (RFC 8259) as Python values.

    orjson refuses what the standard library lets through: NaN, lone surrogates, invalid UTF-8. The standard library
    sees what orjson merges: a name given twice, where two parsers might not agree which one counts.

    Raises:
        KtError: ``invalid_json``, with the place but nothing of the text.
    """
    if not raw:
        raise _invalid("it is empty")
    try:
        orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise _invalid(f"it breaks off or goes wrong at line {error.lineno}, column {error.colno}") from None
    try:
        return _DECODER.decode(raw.decode())
    except RecursionError:
        raise _invalid("it is nested too deeply") from None
    except ValueError:
        raise _invalid("it holds a number that is too large") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise _invalid("it names a member twice in one object")
    return members


_DECODER: Final = json.JSONDecoder(object_pairs_hook=_unique)


def _invalid(problem: str) -> KtError:
    return KtError("invalid_json", f"The body is not a JSON document: {problem}.", "Send one JSON object in UTF-8.")


def _check_media_type(header: str, media_types: Collection[str]) -> None:
    media_type, *parameters = (part.strip().lower() for part in header.split(";"))
    charset_is_utf8 = all(p in ("", "charset=utf-8", 'charset="utf-8"') for p in parameters)
    if media_type not in media_types or not charset_is_utf8:
        raise KtError(
            "unsupported_media_type",
            f"The body's Content-Type can't be used; expected {' or '.join(media_types)} in UTF-8.",
            "Send the header `Content-Type: application/json`.",
        )


async def _read(request: Request) -> bytes:
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and (len(declared) > _MAX_DIGITS or int(declared) > MAX_BODY_BYTES):
        raise _too_large()
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > MAX_BODY_BYTES:
                raise _too_large()
    except ClientDisconnect:
        raise KtError("request_timeout", "The connection ended before the body had arrived.") from None
    return bytes(body)


def _too_large() -> KtError:
    return KtError(
        "body_too_large",
        f"The body is larger than {MAX_BODY_BYTES:,} bytes.",
        "A value has at most 65,536 bytes; store larger documents elsewhere.",
    )

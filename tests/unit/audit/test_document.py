"""What a reader is shown of an entry."""

from __future__ import annotations

import base64
from datetime import UTC, datetime

import orjson
import pytest

from services.audit.domain.document import MAX_SHOWN_BYTES, UNREADABLE, document_text
from services.audit.domain.page import EntryKey, ListedEntry

KEY = EntryKey(datetime(2026, 11, 23, 7, 39, 3, tzinfo=UTC), 1, 17)


def test_an_event_is_shown_byte_for_byte() -> None:
    body = '{ "b":1,\t"a":"ü" }'.encode()
    assert document_text(ListedEntry(KEY, "kt.x.y.v1", body), "acme").encode() == body


@pytest.mark.parametrize("body", [b"", b"\xff\0", b"[]"])
def test_what_is_no_event_is_wrapped_in_one(body: bytes) -> None:
    shown = orjson.loads(document_text(ListedEntry(KEY, "", body), "acme"))
    assert base64.b64decode(shown["data"]["detail"]["body_base64"]) == body
    assert (shown["type"], shown["org"], shown["time"]) == (UNREADABLE, "acme", "2026-11-23T07:39:03.000000Z")
    assert shown["data"]["actor"]["id"] == ""


@pytest.mark.parametrize("kind", ["", "kt.x.y.v1"])
def test_what_is_too_large_to_show_is_counted(kind: str) -> None:
    body = b"{" + b" " * MAX_SHOWN_BYTES + b"}"
    shown = orjson.loads(document_text(ListedEntry(KEY, kind, body), "acme"))
    assert shown["data"]["detail"] == {"bytes": len(body)}

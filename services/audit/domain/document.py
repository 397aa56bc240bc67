"""How an entry's bytes are shown: as they are, or wrapped in a document when they are no event."""

from __future__ import annotations

import base64
from typing import Any, Final

import orjson

from libs.common.clock import rfc3339
from services.audit.domain.page import ListedEntry

UNREADABLE: Final = "kt.audit.unreadable.v1"
MAX_SHOWN_BYTES: Final = 64 * 1024
"""Beyond this, bytes are counted, not shown: no entry is too large to list. Events have at most 16 KiB."""


def document_text(entry: ListedEntry, org: str) -> str:
    """The stored document, byte for byte, as JSON text.

    Bytes that are no event become the ``detail.body_base64`` of a document of type ``kt.audit.unreadable.v1``.
    """
    if entry.type and len(entry.body) <= MAX_SHOWN_BYTES:
        return entry.body.decode()
    detail: dict[str, Any] = {"bytes": len(entry.body)}
    if len(entry.body) <= MAX_SHOWN_BYTES:
        detail["body_base64"] = base64.b64encode(entry.body).decode()
    return orjson.dumps(
        {
            "specversion": "1.0",
            "id": "",
            "source": "keeptrusts/audit",
            "type": UNREADABLE,
            "subject": "",
            "time": rfc3339(entry.key.recorded_at),
            "org": org,
            "data": {
                "category": "",
                "action": "",
                "outcome": {"result": ""},
                "actor": {"type": "", "id": ""},
                "resource": {"type": "", "id": ""},
                "request": {"id": ""},
                "detail": detail,
            },
        }
    ).decode()

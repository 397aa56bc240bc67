"""What is searched for beside the exact bytes of a stored message."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import orjson

MAX_COLUMN_CHARACTERS: Final = 256
"""Columns are cut here when they are long, so that no two of them exceed what a B-tree entry holds (2,704 bytes)."""

_PLAIN_CHARACTERS: Final = 600
"""Columns that together have at most this many fit any index uncut; a character has up to four bytes."""


class Columns(NamedTuple):
    """``gateway`` is the gateway that acted or was acted on, if any; ``correlation`` the request's id.

    Of a body that is no event only ``org`` is known, and ``type`` is empty.
    """

    event_id: str
    org: str
    type: str
    category: str
    action: str
    outcome: str
    actor: str
    resource_type: str
    resource_id: str
    gateway: str
    correlation: str


def columns_of(subject: str, body: bytes) -> Columns:
    """Read them from a message. Never fails: whatever was stored has a place in the log."""
    try:
        columns = _columns(orjson.loads(body))
        text = "".join(columns)  # raises TypeError when one of them is not text
    except (orjson.JSONDecodeError, KeyError, TypeError):
        columns = Columns("", subject.split(".")[3], *[""] * 9)
        text = columns.org
    if len(text) > _PLAIN_CHARACTERS or "\0" in text:
        return Columns._make(map(_storable, columns))
    return columns


def _columns(document: Any) -> Columns:
    data = document["data"]
    actor, resource = data["actor"], data["resource"]
    actor_id, resource_type, resource_id = actor["id"], resource["type"], resource["id"]
    if actor["type"] == "gateway":
        gateway = actor_id
    elif resource_type == "gateway":
        gateway = resource_id
    else:
        gateway = ""
    return Columns(
        document["id"],
        document["org"],
        document["type"],
        data["category"],
        data["action"],
        data["outcome"]["result"],
        actor_id,
        resource_type,
        resource_id,
        gateway,
        data["request"]["id"],
    )


def _storable(text: str) -> str:
    """PostgreSQL's text has no NUL."""
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}")[:MAX_COLUMN_CHARACTERS]

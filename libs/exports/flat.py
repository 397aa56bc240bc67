"""Events as flat rows, for tables: a column for each thing that is asked about."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import orjson

UNREADABLE: Final = "kt.audit.unreadable.v1"


class FlatRow(NamedTuple):
    """Columns are text but for ``sequence``; ``detail`` is JSON. Of what is no event only the place is known."""

    stream: str
    sequence: int
    time: str = ""
    id: str = ""
    type: str = UNREADABLE
    category: str = ""
    action: str = ""
    outcome: str = ""
    reason: str = ""
    actor_type: str = ""
    actor_id: str = ""
    resource_type: str = ""
    resource_id: str = ""
    resource_version: str = ""
    request_id: str = ""
    source_ip: str = ""
    user_agent: str = ""
    org: str = ""
    detail: str = ""


COLUMNS: Final = FlatRow._fields


def flat(stream: str, sequence: int, body: bytes, *, is_event: bool) -> FlatRow:
    if is_event:
        try:
            return _row(stream, sequence, orjson.loads(body))
        except (ValueError, KeyError, TypeError, AttributeError):
            pass
    return FlatRow(stream, sequence)


def _row(stream: str, sequence: int, event: Any) -> FlatRow:
    data = event["data"]
    outcome, actor, resource, request = data["outcome"], data["actor"], data["resource"], data["request"]
    texts = (
        event["time"],
        event["id"],
        event["type"],
        data["category"],
        data["action"],
        outcome["result"],
        outcome.get("reason") or outcome.get("code") or "",
        actor["type"],
        actor["id"],
        resource["type"],
        resource["id"],
        str(resource.get("version", "")),
        request["id"],
        request.get("source_ip", ""),
        request.get("user_agent", ""),
        event["org"],
    )
    "".join(texts)  # raises TypeError when one of them is not text
    detail = orjson.dumps(data.get("detail", {}), option=orjson.OPT_SORT_KEYS).decode()
    return FlatRow(stream, sequence, *texts, detail)

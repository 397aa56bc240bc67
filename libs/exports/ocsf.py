"""Events in the Open Cybersecurity Schema Framework, version 1.8.0.

Classes: Entity Management (3004) for what changes, API Activity (6003) for what is used, Event Log Activity (1008)
for what happens to logs. ``raw_data`` is the stored event, byte for byte.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from types import MappingProxyType
from typing import Any, Final, NamedTuple

import orjson

VERSION: Final = "1.8.0"

ENTITY_MANAGEMENT: Final = 3004
API_ACTIVITY: Final = 6003
EVENT_LOG_ACTIVITY: Final = 1008
BASE_EVENT: Final = 0
OTHER: Final = 99

_CREATE, _READ, _UPDATE, _DELETE, _ENROLL, _DISABLE = 1, 2, 3, 4, 6, 9
_LOG_DELETE, _LOG_EXPORT, _LOG_START, _LOG_STOP = 2, 3, 6, 7


class Kind(NamedTuple):
    class_uid: int
    activity_id: int


KINDS: Final[Mapping[str, Kind]] = MappingProxyType(
    {
        "create": Kind(ENTITY_MANAGEMENT, _CREATE),
        "issue": Kind(ENTITY_MANAGEMENT, _CREATE),
        "take_over": Kind(ENTITY_MANAGEMENT, _CREATE),
        "add_hold": Kind(ENTITY_MANAGEMENT, _CREATE),
        "enroll": Kind(ENTITY_MANAGEMENT, _ENROLL),
        "update": Kind(ENTITY_MANAGEMENT, _UPDATE),
        "rotate": Kind(ENTITY_MANAGEMENT, _UPDATE),
        "roll_back": Kind(ENTITY_MANAGEMENT, _UPDATE),
        "change": Kind(ENTITY_MANAGEMENT, _UPDATE),
        "rotate_secret": Kind(ENTITY_MANAGEMENT, _UPDATE),
        "retire_secret": Kind(ENTITY_MANAGEMENT, _UPDATE),
        "start_deep_rotation": Kind(ENTITY_MANAGEMENT, _UPDATE),
        "complete_deep_rotation": Kind(ENTITY_MANAGEMENT, _UPDATE),
        "set_retention": Kind(ENTITY_MANAGEMENT, _UPDATE),
        "delete": Kind(ENTITY_MANAGEMENT, _DELETE),
        "destroy_version": Kind(ENTITY_MANAGEMENT, _DELETE),
        "revoke": Kind(ENTITY_MANAGEMENT, _DELETE),
        "remove_hold": Kind(ENTITY_MANAGEMENT, _DELETE),
        "disable": Kind(ENTITY_MANAGEMENT, _DISABLE),
        "resolve": Kind(API_ACTIVITY, _READ),
        "reveal": Kind(API_ACTIVITY, _READ),
        "read": Kind(API_ACTIVITY, _READ),
        "load_config": Kind(API_ACTIVITY, _UPDATE),
        "reload_config": Kind(API_ACTIVITY, _UPDATE),
        "apply_config_source": Kind(API_ACTIVITY, _UPDATE),
        "apply_audit_policy": Kind(API_ACTIVITY, _UPDATE),
        "adopt": Kind(API_ACTIVITY, _UPDATE),
        "export": Kind(EVENT_LOG_ACTIVITY, _LOG_EXPORT),
        "apply_retention": Kind(EVENT_LOG_ACTIVITY, _LOG_DELETE),
        "start_log": Kind(EVENT_LOG_ACTIVITY, _LOG_START),
        "end_log": Kind(EVENT_LOG_ACTIVITY, _LOG_STOP),
        "repair": Kind(EVENT_LOG_ACTIVITY, OTHER),
        "rebuild": Kind(EVENT_LOG_ACTIVITY, OTHER),
        "log": Kind(EVENT_LOG_ACTIVITY, OTHER),
    }
)
"""By action. Any other is API Activity, 99 (Other), with the action as ``activity_name``."""

ENTITY_TYPES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "config_variable": "Secret",
        "git_token": "Secret",
        "encryption_key": "EncryptionKey",
        "signing_keys": "SigningKey",
        "token": "Token",
        "gateway": "Gateway",
        "webhook": "Webhook",
        "audit_log": "AuditLog",
    }
)
"""The names of ``entity.type``, whose ``type_id`` is 99: the schema has none for these."""

USER_TYPES: Final[Mapping[str, int]] = MappingProxyType(
    {"admin": 2, "operator": 1, "auditor": 1, "client": 1, "gateway": 4, "machine": 4, "service": 4}
)

_CLASS_NAMES: Final = {
    ENTITY_MANAGEMENT: "Entity Management",
    API_ACTIVITY: "API Activity",
    EVENT_LOG_ACTIVITY: "Event Log Activity",
    BASE_EVENT: "Base Event",
}
_PRODUCT: Final = {"name": "keeptrusts", "vendor_name": "keeptrusts"}
_INFORMATIONAL, _LOW = 1, 2
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def line(stream: str, sequence: int, body: bytes, *, is_event: bool) -> bytes:
    """One event as a line of JSON, without its line break. Stored bytes that are no event become a base event."""
    try:
        document = _event(stream, sequence, orjson.loads(body), body.decode()) if is_event else None
    except (ValueError, KeyError, TypeError, AttributeError):
        document = None
    return orjson.dumps(document or _unreadable(stream, sequence, body), option=orjson.OPT_SORT_KEYS)


def source_of(text: bytes) -> tuple[int, bytes, bool] | None:
    """Sequence and stored bytes that a line was made from, and whether they are an event; None for no such line."""
    try:
        document = orjson.loads(text)
        raw, sequence, is_event = (
            document["raw_data"],
            document["metadata"]["sequence"],
            document["class_uid"] != BASE_EVENT,
        )
        if type(sequence) is not int:
            return None
        return sequence, raw.encode() if is_event else bytes.fromhex(raw), is_event
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _event(stream: str, sequence: int, event: Mapping[str, Any], raw: str) -> dict[str, Any]:
    data, moment = event["data"], event["time"]
    action, outcome, request = data["action"], data["outcome"], data["request"]
    kind = KINDS.get(action, Kind(API_ACTIVITY, OTHER))
    failed = outcome["result"] != "success"
    document: dict[str, Any] = {
        **_classified(kind),
        "time": (datetime.fromisoformat(moment) - _EPOCH) // timedelta(milliseconds=1),
        "severity_id": _LOW if failed else _INFORMATIONAL,
        "status": "Failure" if failed else "Success",
        "status_id": 2 if failed else 1,
        "message": f"{action} {data['resource']['type']}/{data['resource']['id']}",
        "metadata": {
            "version": VERSION,
            "product": _PRODUCT,
            "uid": event["id"],
            "event_code": event["type"],
            "correlation_uid": request["id"],
            "sequence": sequence,
            "log_name": stream,
            "log_provider": event["source"],
            "original_time": moment,
            "tenant_uid": event["org"],
        },
        "actor": _actor(data["actor"]),
        "src_endpoint": _source(request, data["actor"]),
        "raw_data": raw,
    }
    if kind.activity_id == OTHER:
        document["activity_name"] = action
    if reason := outcome.get("reason") or outcome.get("code"):
        document["status_detail"] = reason
    document.update(_object(kind.class_uid, action, data["resource"], request))
    return document


def _classified(kind: Kind) -> dict[str, Any]:
    return {
        "category_uid": kind.class_uid // 1000,
        "class_uid": kind.class_uid,
        "class_name": _CLASS_NAMES[kind.class_uid],
        "activity_id": kind.activity_id,
        "type_uid": kind.class_uid * 100 + kind.activity_id,
    }


def _actor(actor: Mapping[str, str]) -> dict[str, Any]:
    type_id = USER_TYPES.get(actor["type"], OTHER)
    user: dict[str, Any] = {"name": actor["id"], "uid": actor["id"], "type": actor["type"], "type_id": type_id}
    return {"user": user}


def _source(request: Mapping[str, Any], actor: Mapping[str, str]) -> dict[str, Any]:
    address = request.get("source_ip", "")
    try:
        return {"ip": str(ip_address(address))}
    except ValueError:
        return {"name": actor["id"] or actor["type"] or "unknown"}


def _object(class_uid: int, action: str, resource: Mapping[str, Any], request: Mapping[str, Any]) -> dict[str, Any]:
    type_ = ENTITY_TYPES.get(resource["type"], resource["type"])
    named: dict[str, Any] = {"name": resource["id"], "uid": f"{resource['type']}/{resource['id']}", "type": type_}
    if version := resource.get("version"):
        named["version"] = str(version)
    if class_uid == ENTITY_MANAGEMENT:
        return {"entity": {**named, "type_id": OTHER}}
    if class_uid == EVENT_LOG_ACTIVITY:
        return {"log_name": named["uid"], "log_type_id": 2, "log_type": "Application"}
    api = {"operation": action, "service": {"name": "keeptrusts"}, "request": {"uid": request["id"]}}
    return {"api": api, "resources": [named]}


def _unreadable(stream: str, sequence: int, body: bytes) -> dict[str, Any]:
    """``raw_data`` is in hex, because the bytes may be no text."""
    return {
        **_classified(Kind(BASE_EVENT, OTHER)),
        "activity_name": "unreadable",
        "time": 0,
        "severity_id": _LOW,
        "status_id": 0,
        "metadata": {"version": VERSION, "product": _PRODUCT, "sequence": sequence, "log_name": stream},
        "raw_data": body.hex(),
    }

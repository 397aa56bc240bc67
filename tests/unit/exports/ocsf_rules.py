"""What OCSF 1.8.0 demands of the classes that are used here, transcribed from the published schema.

Of each object: its attributes with their types, those required, those of which one at least has to be there, and the
values of enumerations. Attributes that this software does not write are left out, so that one it begins to write has
to be looked up first.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any

STRING, INTEGER, TIMESTAMP, IP = "string_t", "integer_t", "timestamp_t", "ip_t"


@dataclass(frozen=True)
class Rules:
    attributes: dict[str, str]
    required: frozenset[str] = frozenset()
    at_least_one: frozenset[str] = frozenset()
    enums: dict[str, frozenset[int]] = field(default_factory=dict)


BASE = {
    "activity_id": INTEGER,
    "activity_name": STRING,
    "category_uid": INTEGER,
    "class_name": STRING,
    "class_uid": INTEGER,
    "message": STRING,
    "metadata": "metadata",
    "raw_data": STRING,
    "severity_id": INTEGER,
    "status": STRING,
    "status_detail": STRING,
    "status_id": INTEGER,
    "time": TIMESTAMP,
    "type_uid": INTEGER,
}
BASE_REQUIRED = frozenset({"activity_id", "category_uid", "class_uid", "metadata", "severity_id", "time", "type_uid"})
SEVERITIES = frozenset({0, 1, 2, 3, 4, 5, 6, 99})
STATUSES = frozenset({0, 1, 2, 99})


def _class(activities: set[int], more: dict[str, str], required: set[str], one_of: set[str] | None = None) -> Rules:
    enums = {"activity_id": frozenset({0, 99, *activities}), "severity_id": SEVERITIES, "status_id": STATUSES}
    if "log_type_id" in more:
        enums["log_type_id"] = frozenset({0, 1, 2, 99})
    return Rules({**BASE, **more}, BASE_REQUIRED | required, frozenset(one_of or ()), enums)


CLASSES = {
    0: _class(set(), {}, set()),
    3004: _class(
        set(range(1, 14)),
        {"actor": "actor", "entity": "managed_entity", "src_endpoint": "network_endpoint"},
        {"entity"},
    ),
    6003: _class(
        {1, 2, 3, 4},
        {"actor": "actor", "api": "api", "src_endpoint": "network_endpoint", "resources": "resource_details[]"},
        {"actor", "api", "src_endpoint"},
    ),
    1008: _class(
        set(range(1, 11)),
        {
            "actor": "actor",
            "src_endpoint": "network_endpoint",
            "log_name": STRING,
            "log_type": STRING,
            "log_type_id": INTEGER,
        },
        set(),
        {"log_file", "log_name", "log_provider", "log_type", "log_type_id"},
    ),
}
CATEGORIES = {0: 0, 3004: 3, 6003: 6, 1008: 1}
CLASS_NAMES = {0: "Base Event", 3004: "Entity Management", 6003: "API Activity", 1008: "Event Log Activity"}

OBJECTS = {
    "metadata": Rules(
        {
            "version": STRING,
            "product": "product",
            "uid": STRING,
            "event_code": STRING,
            "correlation_uid": STRING,
            "sequence": INTEGER,
            "log_name": STRING,
            "log_provider": STRING,
            "original_time": STRING,
            "tenant_uid": STRING,
        },
        frozenset({"version", "product"}),
    ),
    "product": Rules({"name": STRING, "vendor_name": STRING}, at_least_one=frozenset({"name", "uid"})),
    "actor": Rules(
        {"user": "user"},
        at_least_one=frozenset({"process", "user", "invoked_by", "session", "app_name", "app_uid"}),
    ),
    "user": Rules(
        {"name": STRING, "uid": STRING, "type": STRING, "type_id": INTEGER},
        at_least_one=frozenset({"account", "name", "uid"}),
        enums={"type_id": frozenset({0, 1, 2, 3, 4, 99})},
    ),
    "managed_entity": Rules(
        {"name": STRING, "uid": STRING, "type": STRING, "type_id": INTEGER, "version": STRING},
        at_least_one=frozenset({"name", "uid", "device", "group", "org", "policy", "user"}),
        enums={"type_id": frozenset({0, 1, 2, 3, 4, 5, 6, 7, 99})},
    ),
    "network_endpoint": Rules(
        {"ip": IP, "name": STRING},
        at_least_one=frozenset({"ip", "uid", "name", "hostname", "svc_name", "instance_uid", "domain"}),
    ),
    "api": Rules({"operation": STRING, "request": "request", "service": "service"}, frozenset({"operation"})),
    "request": Rules({"uid": STRING}, frozenset({"uid"})),
    "service": Rules({"name": STRING}, at_least_one=frozenset({"name", "uid"})),
    "resource_details": Rules(
        {"name": STRING, "uid": STRING, "type": STRING, "version": STRING}, at_least_one=frozenset({"name", "uid"})
    ),
}


def violations(event: dict[str, Any]) -> list[str]:
    """What is wrong with an event; nothing when it is valid."""
    class_uid = event.get("class_uid")
    if class_uid not in CLASSES:
        return [f"class {class_uid} is not one of those used here"]
    found = list(_violations(event, CLASSES[class_uid], f"class {class_uid}"))
    if event.get("type_uid") != class_uid * 100 + event.get("activity_id", -1):
        found.append("type_uid is not class_uid * 100 + activity_id")
    if event.get("category_uid") != CATEGORIES[class_uid] or event.get("class_name") != CLASS_NAMES[class_uid]:
        found.append("category_uid or class_name is not that of the class")
    if event.get("activity_id") == 99 and not event.get("activity_name"):
        found.append("activity_id 99 without activity_name")
    return found


def _violations(value: dict[str, Any], rules: Rules, place: str) -> Iterator[str]:
    yield from (f"{place}: {name} is required" for name in rules.required - value.keys())
    if rules.at_least_one and not rules.at_least_one & value.keys():
        yield f"{place}: one of {sorted(rules.at_least_one)} is required"
    for name, member in value.items():
        if name not in rules.attributes:
            yield f"{place}: {name} is not an attribute"
        else:
            yield from _typed(member, rules.attributes[name], f"{place}.{name}")
        if name in rules.enums and member not in rules.enums[name]:
            yield f"{place}: {name} is not one of the values"


def _typed(value: Any, kind: str, place: str) -> Iterator[str]:
    if kind in (INTEGER, TIMESTAMP):
        if type(value) is not int or (kind == TIMESTAMP and value < 0):
            yield f"{place} is not an integer"
    elif kind == STRING:
        if not isinstance(value, str) or (not value and not place.endswith("raw_data")):
            yield f"{place} is not text, or empty"
    elif kind == IP:
        ip_address(value)
    elif kind.endswith("[]"):
        for member in value:
            yield from _violations(member, OBJECTS[kind[:-2]], place)
    else:
        yield from _violations(value, OBJECTS[kind], place)

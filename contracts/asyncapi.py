"""The bus as an AsyncAPI 3.0 document: event streams, and the questions services ask each other."""

from __future__ import annotations

import importlib
import pkgutil
from typing import Any

from libs.common import protocol
from libs.common.events import REGISTRY
from libs.common.messaging.rpc import Endpoint
from libs.common.service import health_endpoint

_VERSION = "1"


def endpoints() -> list[Endpoint[Any, Any]]:
    """Every endpoint declared in libs.common.protocol, and the health endpoint, by subject."""
    found = [
        value
        for module in pkgutil.iter_modules(protocol.__path__)
        for value in vars(importlib.import_module(f"{protocol.__name__}.{module.name}")).values()
        if isinstance(value, Endpoint)
    ]
    return sorted([*found, health_endpoint("{service}")], key=lambda endpoint: endpoint.subject)


def document() -> dict[str, Any]:
    channels: dict[str, Any] = {}
    operations: dict[str, Any] = {}
    messages: dict[str, Any] = {}
    for endpoint in endpoints():
        key = endpoint.subject.replace("*", "_")
        for part, model in (("request", endpoint.request), ("reply", endpoint.reply)):
            schema = model.model_json_schema(mode="validation" if part == "request" else "serialization")
            messages[f"{key}.{part}"] = {"contentType": "application/json", "payload": _self_contained(schema)}
        channels[key] = {"address": endpoint.subject, "messages": _refs(f"{key}.request")}
        channels[f"{key}.reply"] = {"address": None, "messages": _refs(f"{key}.reply")}
        operations[key] = {
            "action": "receive",
            "summary": endpoint.summary,
            "channel": {"$ref": f"#/channels/{key}"},
            "bindings": {"nats": {"queue": endpoint.queue}},
            "reply": {"channel": {"$ref": f"#/channels/{key}.reply"}},
        }
    for name, kind in sorted(REGISTRY.types().items()):
        messages[name] = {
            "contentType": "application/cloudevents+json",
            "payload": {"$ref": f"events/{name}.schema.json"},
            "summary": (kind.model.__doc__ or "").strip().split("\n")[0],
        }
    for stream, address in (
        ("KT_EVENTS", "kt.evt.v1.{org}.{aggregate}.{id}"),
        ("KT_ACCESS", "kt.access.v1.{org}.{kind}.{id}"),
    ):
        channels[stream] = {
            "address": address,
            "parameters": {name: {} for name in _parameters(address)},
            "messages": _refs(*sorted(REGISTRY.types())),
        }
    return {
        "asyncapi": "3.0.0",
        "info": {"title": "keeptrusts bus", "version": _VERSION},
        "defaultContentType": "application/json",
        "channels": channels,
        "operations": operations,
        "components": {"messages": messages},
    }


def _parameters(address: str) -> list[str]:
    return [token[1:-1] for token in address.split(".") if token.startswith("{")]


def _refs(*names: str) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/messages/{name}"} for name in names}


def _self_contained(schema: dict[str, Any]) -> dict[str, Any]:
    """JSON Schema with its ``$defs`` inside; the dialect is that of pydantic, Draft 2020-12."""
    return {"schemaFormat": "application/schema+json;version=draft-2020-12", "schema": schema}

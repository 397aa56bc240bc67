"""Every event of the system. Importing this package fills the registry."""

from libs.common.events import (
    audit,
    audit_log,
    backup,
    config_variable,
    encryption_key,
    gateway,
    gateway_access,
    git_token,
    token,
    webhook,
)
from libs.common.events.envelope import Actor, Metadata, Origin, RecordedEvent, Resource, decode, encode, encode_all
from libs.common.events.registry import REGISTRY, EventRegistry, MalformedEvent, UnknownEventType

__all__ = [
    "REGISTRY",
    "Actor",
    "EventRegistry",
    "MalformedEvent",
    "Metadata",
    "Origin",
    "RecordedEvent",
    "Resource",
    "UnknownEventType",
    "audit",
    "audit_log",
    "backup",
    "config_variable",
    "decode",
    "encode",
    "encode_all",
    "encryption_key",
    "gateway",
    "gateway_access",
    "git_token",
    "token",
    "webhook",
]

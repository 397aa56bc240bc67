"""What happens to the audit log itself: how long it is kept, what is held back, what went."""

from __future__ import annotations

from dataclasses import dataclass

from libs.common.events.registry import REGISTRY

_CATEGORY = "audit"


@REGISTRY.event("kt.audit_log.retention_set.v1", action="set_retention", category=_CATEGORY)
@dataclass(frozen=True, slots=True)
class RetentionSet:
    """Entries are kept for at least ``days``."""

    days: int


@REGISTRY.event("kt.audit_log.hold_added.v1", action="add_hold", category=_CATEGORY)
@dataclass(frozen=True, slots=True)
class HoldAdded:
    """What was recorded from ``begins`` up to ``ends`` (RFC 3339; empty: without end) stays until this is removed."""

    hold: str
    begins: str
    ends: str
    reason: str


@REGISTRY.event("kt.audit_log.hold_removed.v1", action="remove_hold", category=_CATEGORY)
@dataclass(frozen=True, slots=True)
class HoldRemoved:
    hold: str
    reason: str


@dataclass(frozen=True, slots=True)
class RetiredRange:
    """The entries of one stream that went. ``tree_size`` and ``root`` (hex) are those of the stream's Merkle tree at
    that moment, which goes on proving every entry that remains."""

    stream: str
    first_sequence: int
    last_sequence: int
    entries: int
    tree_size: int
    root: str


@REGISTRY.event("kt.audit_log.retention_applied.v1", action="apply_retention", category=_CATEGORY)
@dataclass(frozen=True, slots=True)
class RetentionApplied:
    """The entries of a calendar month (``period``, ``2026-11``) are removed, because all are older than ``days``.

    ``manifest_digest`` is that (hex SHA-256) of the manifest of the export that was made of them before; empty when
    none was.
    """

    period: str
    days: int
    ranges: tuple[RetiredRange, ...]
    manifest_digest: str


@dataclass(frozen=True, slots=True)
class ReproducedTree:
    """The ``root`` (hex) of the first ``size`` entries of a stream, as it had been signed before."""

    stream: str
    size: int
    root: str


@REGISTRY.event("kt.audit_log.rebuilt.v1", action="rebuild", category=_CATEGORY)
@dataclass(frozen=True, slots=True)
class LogRebuilt:
    """The log's tables were made anew from the streams, which reproduced what had been signed of them.

    ``requested_by`` is ``type/id``; ``entries`` how many messages were replayed.
    """

    requested_by: str
    entries: int
    trees: tuple[ReproducedTree, ...]


AuditLogEvent = RetentionSet | HoldAdded | HoldRemoved | RetentionApplied | LogRebuilt

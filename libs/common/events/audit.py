"""What happens to the audit log itself, and who was refused at the door."""

from __future__ import annotations

from dataclasses import dataclass

from libs.common.events.registry import REGISTRY


@REGISTRY.event("kt.audit.read.v1", action="read", category="audit", access=True)
@dataclass(frozen=True, slots=True)
class AuditRead:
    """Somebody read the log: once for a query, however many pages it has, and again each hour that it goes on.

    ``operation``: list, follow, prove, for which ``filter`` names the event by id or position, or verify, for which
    it names the stream. A value in ``filter`` that may be a key stands there as ``(withheld)``. ``continued``: the
    query is on record before.
    """

    operation: str
    filter: str
    continued: bool


@dataclass(frozen=True, slots=True)
class Repair:
    """``kind`` of damage from sequence ``first`` to ``last``; ``outcome`` says whether it was restored."""

    kind: str
    first: int
    last: int
    outcome: str


@REGISTRY.event("kt.audit.repaired.v1", action="repair", category="audit", access=True)
@dataclass(frozen=True, slots=True)
class AuditRepaired:
    """Damage of the log's copy of ``stream`` was restored as the proofs say, or could not be."""

    stream: str
    findings: tuple[Repair, ...]


@dataclass(frozen=True, slots=True)
class ExportedRange:
    """Sequences of a stream."""

    stream: str
    first: int
    last: int


@REGISTRY.event("kt.audit.exported.v1", action="export", category="audit", access=True)
@dataclass(frozen=True, slots=True)
class AuditExported:
    """Somebody exported the log, or went on with an export (``continued``).

    ``begins`` and ``ends`` are RFC 3339, or empty; ``ranges`` what they meant. A value in ``filter`` that may be a
    key stands there as ``(withheld)``.
    """

    export: str
    format: str
    filter: str
    begins: str
    ends: str
    ranges: tuple[ExportedRange, ...]
    continued: bool


@REGISTRY.event("kt.operation.denied.v1", action="deny", category="access_management", failure=True, access=True)
@dataclass(frozen=True, slots=True)
class OperationDenied:
    """Requests with a valid token that does not allow them, counted over some seconds.

    ``reason``: insufficient_scope, with the ``scope`` that was missing, or forbidden. ``token`` is the token's id.
    Times are RFC 3339.
    """

    reason: str
    scope: str
    token: str
    count: int
    first_at: str
    last_at: str


AuditEvent = AuditRead | AuditRepaired | AuditExported | OperationDenied

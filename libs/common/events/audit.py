"""What happens to the audit log itself, and who was refused at the door."""

from __future__ import annotations

from dataclasses import dataclass

from libs.common.events.registry import REGISTRY


@REGISTRY.event("kt.audit.read.v1", action="read", category="audit", access=True)
@dataclass(frozen=True, slots=True)
class AuditRead:
    """Somebody read the log: once for a query, however many pages it has, and again each hour that it goes on.

    ``operation``: list, follow, or prove, for which ``filter`` names the event by id or position. A value in
    ``filter`` that may be a key stands there as ``(withheld)``. ``continued``: the query is on record before.
    """

    operation: str
    filter: str
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


AuditEvent = AuditRead | OperationDenied

"""The gateway configuration after validation: what the page's YAML means."""

from __future__ import annotations

from dataclasses import dataclass

from services.gateway.domain.access import Recording
from services.gateway.domain.providers import Provider
from services.gateway.domain.references import Reference
from services.gateway.domain.upstreams import Upstream


@dataclass(frozen=True, slots=True)
class Pack:
    name: str
    version: str


@dataclass(frozen=True, slots=True)
class Target:
    """One provider account. ``models`` are the values of ``model`` in a request's body that select it."""

    id: str
    provider: Provider
    models: tuple[str, ...]
    upstream: Upstream
    reference: Reference


@dataclass(frozen=True, slots=True)
class AuditLogger:
    immutable: bool = True
    retention_days: int = 365
    log_all_access: bool = True


@dataclass(frozen=True, slots=True)
class GatewayConfig:
    """``digest`` is the hex SHA-256 of the file's bytes; the first target takes what nothing else selects.

    ``commit`` is that of a configuration from a repository, else empty.
    """

    pack: Pack
    targets: tuple[Target, ...]
    audit_logger: AuditLogger | None
    digest: str
    commit: str = ""

    @property
    def references(self) -> tuple[Reference, ...]:
        """Each reference once, in the order of the targets."""
        return tuple(dict.fromkeys(target.reference for target in self.targets))

    @property
    def recording(self) -> Recording:
        """Failures are put on record whatever the file says."""
        everything = self.audit_logger is not None and self.audit_logger.log_all_access
        return Recording.ALL if everything else Recording.FAILURES

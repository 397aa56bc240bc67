"""What happens with gateways: which exist, what they loaded, which version of which key they serve.

An event about targets names all of them, in ``parts`` events of at most 60 targets, ``part`` counted from 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from libs.common.events.registry import REGISTRY


@dataclass(frozen=True, slots=True)
class TargetReference:
    """One target of a gateway's config and the reference it uses. ``version`` is 0 for environment references."""

    target: str
    store: str
    reference: str
    version: int


@REGISTRY.event("kt.gateway.enrolled.v2", action="enroll")
@dataclass(frozen=True, slots=True)
class GatewayEnrolled:
    """With the token ``token_id`` a gateway may resolve the names that match one of ``references`` (globs), until the
    token is revoked."""

    token_id: str
    references: tuple[str, ...]


@REGISTRY.upcaster("kt.gateway.enrolled.v1", "kt.gateway.enrolled.v2")
def _enrolled_by_no_token(detail: dict[str, Any]) -> dict[str, Any]:
    """No token has an empty id, so this entitles nobody any more: the gateway enrolls again."""
    return {**detail, "token_id": ""}


@REGISTRY.event("kt.gateway.config_loaded.v1", action="load_config", access=True)
@dataclass(frozen=True, slots=True)
class GatewayConfigLoaded:
    config_digest: str
    part: int
    parts: int
    targets: tuple[TargetReference, ...]


@REGISTRY.event("kt.gateway.config_reloaded.v1", action="reload_config", access=True)
@dataclass(frozen=True, slots=True)
class GatewayConfigReloaded:
    config_digest: str
    part: int
    parts: int
    targets: tuple[TargetReference, ...]


@REGISTRY.event("kt.gateway.reload_refused.v1", action="reload_config", failure=True, access=True)
@dataclass(frozen=True, slots=True)
class GatewayReloadRefused:
    """A reload was refused and the old config kept. ``reason`` is an error code."""

    config_digest: str
    reason: str


@REGISTRY.event("kt.gateway.config_source_applied.v1", action="apply_config_source", access=True)
@dataclass(frozen=True, slots=True)
class GatewayConfigSourceApplied:
    """The configuration of this commit is in force. ``ref`` is empty for the repository's HEAD."""

    repository: str
    path: str
    ref: str
    commit: str
    config_digest: str


@REGISTRY.event("kt.gateway.config_source_refused.v1", action="apply_config_source", access=True, failure=True)
@dataclass(frozen=True, slots=True)
class GatewayConfigSourceRefused:
    """The configuration of this commit was refused and the old one kept. ``reason`` is an error code."""

    repository: str
    path: str
    ref: str
    commit: str
    reason: str


@REGISTRY.event("kt.gateway.version_adopted.v1", action="adopt", access=True)
@dataclass(frozen=True, slots=True)
class GatewayVersionAdopted:
    """The data plane acknowledged these versions: requests from now on carry them."""

    config_digest: str
    part: int
    parts: int
    targets: tuple[TargetReference, ...]


@REGISTRY.event("kt.gateway.audit_policy_applied.v1", action="apply_audit_policy", access=True)
@dataclass(frozen=True, slots=True)
class GatewayAuditPolicyApplied:
    """What a gateway's config asks of the audit log: to keep entries for ``retention_days`` (0: it does not say), and
    to record every request, or failures alone."""

    config_digest: str
    retention_days: int
    log_all_access: bool

"""What the gateway says of itself: references and versions, never a value."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from libs.common.clock import rfc3339
from services.gateway.domain.access import AccessLogStatus
from services.gateway.domain.config import Target
from services.gateway.domain.keys import HeldKey
from services.gateway.domain.source import SourceStatus


class TargetState(StrEnum):
    """``pending``: the data plane has not acknowledged the key yet; ``withdrawn``: requests are answered with 503."""

    SERVING = "serving"
    WITHDRAWN = "withdrawn"
    PENDING = "pending"


@dataclass(frozen=True, slots=True)
class TargetStatus:
    target: Target
    key: HeldKey
    acknowledged: bool

    @property
    def state(self) -> TargetState:
        if self.key.value is None:
            return TargetState.WITHDRAWN
        return TargetState.SERVING if self.acknowledged else TargetState.PENDING

    def as_document(self) -> dict[str, Any]:
        return {
            "id": self.target.id,
            "provider": self.target.provider.name,
            "models": list(self.target.models),
            "reference": {"kind": str(self.target.reference.kind), "name": self.target.reference.name},
            "version": self.key.version or None,
            "since": rfc3339(self.key.since),
            "state": str(self.state),
            "acknowledged": self.acknowledged,
            "stale": self.key.stale,
            "reason": str(self.key.reason) if self.key.reason else None,
        }


@dataclass(frozen=True, slots=True)
class GatewayStatus:
    """``client_auth`` is ``client_token``, ``client_key`` or ``anonymous``; ``source`` is that of a configuration
    from a repository."""

    name: str
    pack: str
    config_digest: str
    loaded_at: datetime
    client_auth: str
    data_plane_connected: bool
    access_log: AccessLogStatus
    targets: tuple[TargetStatus, ...]
    source: SourceStatus | None = None

    def as_document(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "pack": self.pack,
            "config_digest": self.config_digest,
            "loaded_at": rfc3339(self.loaded_at),
            "client_auth": self.client_auth,
            "data_plane_connected": self.data_plane_connected,
            "access_log": self.access_log.as_document(),
            "source": self.source.as_document() if self.source else None,
            "targets": [target.as_document() for target in self.targets],
        }

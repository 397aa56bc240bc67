"""Names that tie Envoy's bootstrap to what the agent serves over xDS."""

from __future__ import annotations

from typing import Final

from services.gateway.domain.references import Reference

ROUTE_CONFIG: Final = "gateway"
XDS_CLUSTER: Final = "keeptrusts-agent-xds"
CONTROL_CLUSTER: Final = "keeptrusts-agent-control"

CLIENT_AUTH_FILTER: Final = "keeptrusts.client_auth"
CLIENT_ORG_FILTER: Final = "keeptrusts.client_org"
MODEL_FILTER: Final = "keeptrusts.model"

MODEL_NAMESPACE: Final = "keeptrusts.gateway"
MODEL_KEY: Final = "model"

CONTROL_PREFIX: Final = "/-/keeptrusts/"

RUNTIME_LAYER: Final = "recording"
RECORD_FROM_STATUS: Final = "keeptrusts.record.from_status"


def secret_name(reference: Reference) -> str:
    return f"{reference.kind}/{reference.name}"

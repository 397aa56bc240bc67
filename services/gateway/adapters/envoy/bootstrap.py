"""Envoy's bootstrap: one listener, and where the agent is. It holds no key, no client credential, no target."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from services.gateway.adapters.envoy.access_log import access_log
from services.gateway.adapters.envoy.client_filters import API_KEY_FILTER, JWT_FILTER, RBAC_FILTER
from services.gateway.adapters.envoy.errors import local_reply_config
from services.gateway.adapters.envoy.messages import TYPE
from services.gateway.adapters.envoy.names import (
    CLIENT_AUTH_FILTER,
    CLIENT_ORG_FILTER,
    CONTROL_CLUSTER,
    MODEL_FILTER,
    MODEL_KEY,
    MODEL_NAMESPACE,
    ROUTE_CONFIG,
    RUNTIME_LAYER,
    XDS_CLUSTER,
)

Json = dict[str, Any]

STAT_PREFIX: Final = "gateway"
_HTTP: Final = f"{TYPE}envoy.extensions.filters.http."
_MAX_CONNECTIONS: Final = 50_000
_ADS: Final = {"ads": {}, "resource_api_version": "V3", "initial_fetch_timeout": "0s"}


@dataclass(frozen=True, slots=True)
class Sockets:
    """Unix sockets in a directory that only this user may enter."""

    xds: Path
    control: Path
    admin: Path

    @classmethod
    def under(cls, directory: Path) -> Sockets:
        return cls(directory / "xds.sock", directory / "agent.sock", directory / "admin.sock")


def bootstrap(name: str, host: str, port: int, sockets: Sockets) -> Json:
    return {
        "node": {"id": name, "cluster": "keeptrusts-gateway"},
        "admin": {"address": {"pipe": {"path": str(sockets.admin), "mode": 0o600}}},
        "dynamic_resources": {
            "ads_config": {
                "api_type": "GRPC",
                "transport_api_version": "V3",
                "set_node_on_first_message_only": True,
                "grpc_services": [{"envoy_grpc": {"cluster_name": XDS_CLUSTER}}],
            },
            "cds_config": _ADS,
        },
        "layered_runtime": {
            "layers": [{"name": "agent", "rtds_layer": {"name": RUNTIME_LAYER, "rtds_config": _ADS}}]
        },
        "static_resources": {
            "listeners": [_listener(host, port)],
            "clusters": [_agent(XDS_CLUSTER, sockets.xds, http2=True), _agent(CONTROL_CLUSTER, sockets.control)],
        },
        "overload_manager": {"resource_monitors": [_connection_limit()]},
        "application_log_config": {"log_format": {"json_format": {"level": "%l", "logger": "%n", "text": "%j"}}},
    }


def _connection_limit() -> Json:
    config = {
        "@type": f"{TYPE}envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig",
        "max_active_downstream_connections": _MAX_CONNECTIONS,
    }
    return {"name": "envoy.resource_monitors.global_downstream_max_connections", "typed_config": config}


def _agent(name: str, socket: Path, *, http2: bool = False) -> Json:
    protocol: Json = {"http2_protocol_options": {}} if http2 else {"http_protocol_options": {}}
    options = {
        "@type": f"{TYPE}envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
        "explicit_http_config": protocol,
    }
    endpoint = {"endpoint": {"address": {"pipe": {"path": str(socket)}}}}
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]},
        "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": options},
    }


def _listener(host: str, port: int) -> Json:
    manager = {"name": "envoy.filters.network.http_connection_manager", "typed_config": _connection_manager()}
    return {
        "name": "gateway",
        "address": {"socket_address": {"address": host, "port_value": port}},
        "filter_chains": [{"filters": [manager]}],
    }


def _connection_manager() -> Json:
    return {
        "@type": f"{TYPE}envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": STAT_PREFIX,
        "rds": {"route_config_name": ROUTE_CONFIG, "config_source": _ADS},
        "http_filters": _filters(),
        "access_log": [access_log()],
        "local_reply_config": local_reply_config(),
        "stream_idle_timeout": "900s",
        "request_headers_timeout": "15s",
        # Some servers read x_api_key as x-api-key: what is stripped must not come back in another spelling.
        "common_http_protocol_options": {"headers_with_underscores_action": "DROP_HEADER"},
        "generate_request_id": False,
        # No client may steer Envoy: such a header could, for example, repeat a request that is then billed twice.
        "early_header_mutation_extensions": [_without_headers("x-envoy-")],
        # The provider learns nothing about the client.
        "use_remote_address": True,
        "skip_xff_append": True,
        "internal_address_config": {},
        # A path can't climb out of a base URL, nor past a route, by being written in another way.
        "normalize_path": True,
        "merge_slashes": True,
        "path_with_escaped_slashes_action": "REJECT_REQUEST",
        "upgrade_configs": [],
    }


def _without_headers(prefix: str) -> Json:
    config = {
        "@type": f"{TYPE}envoy.extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation",
        "mutations": [{"remove_on_match": {"key_matcher": {"prefix": prefix}}}],
    }
    return {"name": "envoy.http.early_header_mutation.header_mutation", "typed_config": config}


def _filters() -> list[Json]:
    return [
        _delivered(CLIENT_AUTH_FILTER, JWT_FILTER, API_KEY_FILTER, RBAC_FILTER),
        _delivered(CLIENT_ORG_FILTER, RBAC_FILTER),
        {"name": MODEL_FILTER, "typed_config": _read_model()},
        {
            "name": "envoy.filters.http.router",
            "typed_config": {"@type": f"{_HTTP}router.v3.Router", "suppress_envoy_headers": True},
        },
    ]


def _delivered(name: str, *types: str) -> Json:
    """A filter whose configuration the agent delivers. Until it has come the listener takes no request."""
    return {"name": name, "config_discovery": {"config_source": _ADS, "type_urls": [TYPE + type_ for type_ in types]}}


def _read_model() -> Json:
    found = {"metadata_namespace": MODEL_NAMESPACE, "key": MODEL_KEY, "type": "STRING"}
    rules = {
        "rules": [{"selectors": [{"key": "model"}], "on_present": found}],
        "allow_content_types_regex": {"regex": r"(?i)application/json\s*(;.*)?"},
    }
    return {"@type": f"{_HTTP}json_to_metadata.v3.JsonToMetadata", "request_rules": rules}

"""Envoy messages from their JSON form, as the Envoy documentation prints them.

Importing a message module registers its types, which the ``@type`` members below refer to.
"""

from __future__ import annotations

from typing import Any as AnyValue
from typing import Final

import betterproto2
import envoy_data_plane.envoy.config.rbac.v3
import envoy_data_plane.envoy.extensions.clusters.dns.v3
import envoy_data_plane.envoy.extensions.filters.http.api_key_auth.v3
import envoy_data_plane.envoy.extensions.filters.http.credential_injector.v3
import envoy_data_plane.envoy.extensions.filters.http.jwt_authn.v3
import envoy_data_plane.envoy.extensions.filters.http.rbac.v3
import envoy_data_plane.envoy.extensions.filters.http.upstream_codec.v3
import envoy_data_plane.envoy.extensions.http.injected_credentials.generic.v3
import envoy_data_plane.envoy.extensions.network.dns_resolver.cares.v3
import envoy_data_plane.envoy.extensions.upstreams.http.v3  # noqa: F401
from envoy_data_plane.envoy.config.cluster.v3 import Cluster
from envoy_data_plane.envoy.config.core.v3 import DataSource, TypedExtensionConfig
from envoy_data_plane.envoy.config.route.v3 import RouteConfiguration
from envoy_data_plane.envoy.extensions.transport_sockets.tls.v3 import GenericSecret
from envoy_data_plane.envoy.extensions.transport_sockets.tls.v3 import Secret as SecretResource
from envoy_data_plane.envoy.service.runtime.v3 import Runtime
from envoy_data_plane.google.protobuf import Any

from libs.common.secret import Secret

Json = dict[str, AnyValue]

TYPE: Final = "type.googleapis.com/"
CLUSTER: Final = f"{TYPE}envoy.config.cluster.v3.Cluster"
ROUTES: Final = f"{TYPE}envoy.config.route.v3.RouteConfiguration"
SECRET: Final = f"{TYPE}envoy.extensions.transport_sockets.tls.v3.Secret"
EXTENSION: Final = f"{TYPE}envoy.config.core.v3.TypedExtensionConfig"
RUNTIME: Final = f"{TYPE}envoy.service.runtime.v3.Runtime"

_MESSAGES: Final[dict[str, type[betterproto2.Message]]] = {
    CLUSTER: Cluster,
    ROUTES: RouteConfiguration,
    EXTENSION: TypedExtensionConfig,
    RUNTIME: Runtime,
}


def resource(type_url: str, document: Json) -> Any:
    """The xDS resource of ``document``; an unknown field raises."""
    return Any.pack(_MESSAGES[type_url].from_dict(document))


def secret_resource(name: str, value: Secret | None) -> Any:
    """A generic secret. An empty one stands for a withdrawn key: the credential injector then refuses requests."""
    content = DataSource(inline_bytes=value.reveal() if value is not None else b"")
    return Any.pack(SecretResource(name=name, generic_secret=GenericSecret(secret=content)))

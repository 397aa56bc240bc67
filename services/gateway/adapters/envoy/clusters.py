"""The cluster of a destination: address, TLS, and the credential injector that puts the key on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from libs.common.errors import KtError
from services.gateway.adapters.envoy.messages import TYPE
from services.gateway.adapters.envoy.names import secret_name
from services.gateway.domain.routing import Destination
from services.gateway.domain.upstreams import Upstream

Json = dict[str, Any]

CA_BUNDLES: Final = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Ubuntu, Alpine
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",  # RHEL, Fedora
    "/etc/pki/tls/certs/ca-bundle.crt",  # older RHEL
    "/etc/ssl/ca-bundle.pem",  # SUSE
    "/etc/ssl/cert.pem",  # macOS, BSD
)
_OPTIONS: Final = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_MANY: Final = 100_000


def find_ca_bundle(given: str, candidates: Sequence[str] = CA_BUNDLES) -> str:
    """The file of trusted roots: ``given`` (``SSL_CERT_FILE``), else the first of the system's usual places.

    Returns an empty text when there is none; only a gateway with an https target needs one.

    Raises:
        KtError: ``misconfigured`` when the given file does not exist.
    """
    if given:
        if not Path(given).is_file():
            raise KtError("misconfigured", "SSL_CERT_FILE names no file; expected a bundle of CA certificates.")
        return given
    return next((path for path in candidates if Path(path).is_file()), "")


def cluster(destination: Destination, ca_bundle: str) -> Json:
    """Raises: KtError ``misconfigured`` when an https upstream has no roots to be checked against."""
    upstream = destination.upstream
    document: Json = {
        "name": destination.name,
        "connect_timeout": "5s",
        **_discovery(upstream),
        "load_assignment": _endpoints(destination.name, upstream),
        "circuit_breakers": {"thresholds": [_no_limits()]},
        "upstream_connection_options": {"tcp_keepalive": {"keepalive_time": 60}},
        "typed_extension_protocol_options": {_OPTIONS: _http(destination)},
    }
    if upstream.tls:
        document["transport_socket"] = _tls(upstream, ca_bundle)
    return document


def _discovery(upstream: Upstream) -> Json:
    if upstream.address:
        return {"type": "STATIC"}
    resolver = {
        "@type": f"{TYPE}envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig",
        "query_timeout_seconds": 2,
        "query_tries": 2,
    }
    lookup = {
        "@type": f"{TYPE}envoy.extensions.clusters.dns.v3.DnsCluster",
        "dns_lookup_family": "V4_PREFERRED",
        "respect_dns_ttl": True,
        # One logical host: connections stay up while the provider's DNS answers change.
        "all_addresses_in_single_endpoint": True,
        "typed_dns_resolver_config": {"name": "envoy.network.dns_resolver.cares", "typed_config": resolver},
    }
    # A name that can't be looked up now is a provider that is down, not a reason for the others to wait.
    return {
        "cluster_type": {"name": "envoy.cluster.dns", "typed_config": lookup},
        "wait_for_warm_on_init": False,
    }


def _endpoints(name: str, upstream: Upstream) -> Json:
    address = {"socket_address": {"address": upstream.address or upstream.host, "port_value": upstream.port}}
    return {"cluster_name": name, "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}]}


def _no_limits() -> Json:
    # Envoy's defaults (1,024 each) would refuse requests while that many answers stream.
    return {"max_connections": _MANY, "max_pending_requests": _MANY, "max_requests": _MANY, "max_retries": 100}


def _http(destination: Destination) -> Json:
    protocols: Json = {"http_protocol_options": {}}
    choice = {"auto_config": {**protocols, "http2_protocol_options": {}}}
    if not destination.upstream.tls:
        choice = {"explicit_http_config": protocols}
    return {
        "@type": TYPE + _OPTIONS,
        # Below the idle limit of common load balancers: a connection they are about to close is not used again.
        "common_http_protocol_options": {"idle_timeout": "55s"},
        **choice,
        "http_filters": [_injector(destination), _codec()],
    }


def _injector(destination: Destination) -> Json:
    source = {"ads": {}, "resource_api_version": "V3", "initial_fetch_timeout": "0s"}
    credential = {
        "@type": f"{TYPE}envoy.extensions.http.injected_credentials.generic.v3.Generic",
        "credential": {"name": secret_name(destination.reference), "sds_config": source},
        "header": destination.header,
        "header_value_prefix": destination.prefix,
    }
    injector = {
        "@type": f"{TYPE}envoy.extensions.filters.http.credential_injector.v3.CredentialInjector",
        "overwrite": True,
        "credential": {"name": "envoy.http.injected_credentials.generic", "typed_config": credential},
    }
    return {"name": "envoy.filters.http.credential_injector", "typed_config": injector}


def _codec() -> Json:
    codec = {"@type": f"{TYPE}envoy.extensions.filters.http.upstream_codec.v3.UpstreamCodec"}
    return {"name": "envoy.filters.http.upstream_codec", "typed_config": codec}


def _tls(upstream: Upstream, ca_bundle: str) -> Json:
    if not ca_bundle:
        raise KtError(
            "misconfigured",
            "No bundle of CA certificates was found, so an https provider can't be verified.",
            "Install ca-certificates, or name a bundle with SSL_CERT_FILE.",
        )
    validation: Json = {
        "trusted_ca": {"filename": ca_bundle},
        "match_typed_subject_alt_names": [_subject(upstream)],
    }
    context: Json = {
        "@type": f"{TYPE}envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
        "common_tls_context": {
            "tls_params": {"tls_minimum_protocol_version": "TLSv1_2"},
            "validation_context": validation,
        },
    }
    if not upstream.address:  # RFC 6066 section 3: no IP address in the server name
        context["sni"] = upstream.host
    return {"name": "envoy.transport_sockets.tls", "typed_config": context}


def _subject(upstream: Upstream) -> Json:
    kind = "IP_ADDRESS" if upstream.address else "DNS"
    return {"san_type": kind, "matcher": {"exact": upstream.address or upstream.host}}

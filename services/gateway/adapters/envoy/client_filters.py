"""The two filters that authenticate clients, as resources of the extension config discovery service.

A new configuration takes effect with the next request; listener, connections and open streams stay as they are.
"""

from __future__ import annotations

from typing import Any, Final, assert_never

from services.gateway.adapters.envoy.messages import TYPE
from services.gateway.adapters.envoy.names import CLIENT_AUTH_FILTER, CLIENT_ORG_FILTER
from services.gateway.domain.client_auth import AUDIENCE, ISSUER, Anonymous, ClientAuth, ClientKey, ClientTokens
from services.gateway.domain.providers import CREDENTIAL_HEADERS

Json = dict[str, Any]

JWT_FILTER: Final = "envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication"
API_KEY_FILTER: Final = "envoy.extensions.filters.http.api_key_auth.v3.ApiKeyAuth"
RBAC_FILTER: Final = "envoy.extensions.filters.http.rbac.v3.RBAC"

_METADATA: Final = "envoy.filters.http.jwt_authn"
_CLAIMS: Final = "client"
_CACHED_TOKENS: Final = 1000


def client_filters(auth: ClientAuth) -> dict[str, Json]:
    """Filter name → typed extension config."""
    match auth:
        case ClientTokens():
            filters = {CLIENT_AUTH_FILTER: _jwt(auth), CLIENT_ORG_FILTER: _of_org(auth)}
        case ClientKey():
            filters = {CLIENT_AUTH_FILTER: _api_key(auth), CLIENT_ORG_FILTER: _pass()}
        case Anonymous():
            filters = {CLIENT_AUTH_FILTER: _pass(), CLIENT_ORG_FILTER: _pass()}
        case other:
            assert_never(other)
    return {name: {"name": name, "typed_config": config} for name, config in filters.items()}


def _jwt(auth: ClientTokens) -> Json:
    provider = {
        "issuer": ISSUER,
        "audiences": [AUDIENCE],
        "require_expiration": True,
        "clock_skew_seconds": 30,
        "local_jwks": {"inline_string": auth.jwks},
        "from_headers": [
            {"name": header, "value_prefix": "Bearer " if header == "authorization" else ""}
            for header in CREDENTIAL_HEADERS
        ],
        "payload_in_metadata": _CLAIMS,
        # A signature is checked once for each token and worker thread, the expiry with every request.
        "jwt_cache_config": {"jwt_cache_size": _CACHED_TOKENS},
    }
    return {
        "@type": TYPE + JWT_FILTER,
        "providers": {ISSUER: provider},
        "rules": [{"match": {"prefix": "/"}, "requires": {"provider_name": ISSUER}}],
    }


def _of_org(auth: ClientTokens) -> Json:
    """Tokens of the gateway's org, but the revoked ones."""
    principal = _claim("org", auth.org)
    if auth.revoked:
        revoked = {"or_ids": {"ids": [_claim("jti", token_id) for token_id in auth.revoked]}}
        principal = {"and_ids": {"ids": [principal, {"not_id": revoked}]}}
    policy = {"permissions": [{"any": True}], "principals": [principal]}
    return {"@type": TYPE + RBAC_FILTER, "rules": {"action": "ALLOW", "policies": {"same-org": policy}}}


def _claim(name: str, value: str) -> Json:
    matcher = {
        "filter": _METADATA,
        "path": [{"key": _CLAIMS}, {"key": name}],
        "value": {"string_match": {"exact": value}},
    }
    return {"sourced_metadata": {"metadata_matcher": matcher, "metadata_source": "DYNAMIC"}}


def _api_key(auth: ClientKey) -> Json:
    return {
        "@type": TYPE + API_KEY_FILTER,
        "credentials": [{"key": auth.key.reveal().decode(), "client": "client"}],
        "key_sources": [{"header": header} for header in CREDENTIAL_HEADERS],
    }


def _pass() -> Json:
    """RBAC without rules lets everything pass."""
    return {"@type": TYPE + RBAC_FILTER}

"""The route configuration of a plan."""

from __future__ import annotations

import json
import re
from typing import Any, Final

from services.gateway.adapters.envoy.errors import error_body
from services.gateway.adapters.envoy.messages import TYPE
from services.gateway.adapters.envoy.names import (
    CLIENT_AUTH_FILTER,
    CLIENT_ORG_FILTER,
    CONTROL_CLUSTER,
    CONTROL_PREFIX,
    MODEL_FILTER,
    MODEL_KEY,
    MODEL_NAMESPACE,
    ROUTE_CONFIG,
)
from services.gateway.domain.providers import CREDENTIAL_PARAMETERS, STRIPPED_HEADERS
from services.gateway.domain.routing import TARGET_PREFIX, RoutingPlan, Rule

Json = dict[str, Any]

MAX_BODY_BYTES: Final = 64 * 1024 * 1024
_IDLE: Final = "900s"
"""Longer than any SDK waits for a first token; a stream that is silent for this long is given up."""

_OFF: Final = {"@type": f"{TYPE}envoy.config.route.v3.FilterConfig", "disabled": True}
_HIDDEN_HEADERS: Final = (
    "forwarded",
    "via",
    "x-envoy-external-address",
    "x-envoy-internal",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-real-ip",
)
_METHODS: Final = "GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS"


def route_configuration(plan: RoutingPlan) -> Json:
    """The gateway's own answers among the plan's rules: by path, by model, then the first target."""
    *special, fallback = plan.rules
    routes = [
        _other_method(),
        _control(),
        *(_credential_in_url(parameter) for parameter in CREDENTIAL_PARAMETERS),
        *(_route(rule, reads_body=False) for rule in special if rule.path_prefix),
        _unknown_target(),
        *(_route(rule, reads_body=True) for rule in special if rule.model),
        _route(fallback, reads_body=plan.reads_body),
    ]
    host = {
        "name": "gateway",
        "domains": ["*"],
        # Only a body that is read for its model is held; every other one streams through.
        "request_body_buffer_limit": MAX_BODY_BYTES,
        "routes": routes,
    }
    return {"name": ROUTE_CONFIG, "virtual_hosts": [host]}


def _control() -> Json:
    """The agent checks its own tokens: a client's credential opens nothing here."""
    return {
        "match": {"prefix": CONTROL_PREFIX},
        "route": {"cluster": CONTROL_CLUSTER, "timeout": "60s"},
        "typed_per_filter_config": {CLIENT_AUTH_FILTER: _OFF, CLIENT_ORG_FILTER: _OFF, MODEL_FILTER: _OFF},
    }


def _other_method() -> Json:
    """TRACE above all: its answer repeats the request, and with it the provider's key (RFC 9110 section 9.3.8)."""
    known = {"name": ":method", "string_match": {"safe_regex": {"regex": _METHODS}}, "invert_match": True}
    message = f"The gateway takes {_METHODS.replace('|', ', ')}."
    return _answer({"prefix": "/", "headers": [known]}, 405, "method_not_allowed", message)


def _credential_in_url(parameter: str) -> Json:
    # Refused, not taken off: Envoy's filter that edits query parameters writes them back without percent-encoding.
    pattern = rf"[^?]*\?(?:.*&)?(?i:{''.join(map(_any_spelling, parameter))})(?:=.*|&.*)?"
    any_query = {"name": ":path", "string_match": {"contains": "?"}}
    query = {"name": ":path", "string_match": {"safe_regex": {"regex": pattern}}}
    message = f"The query parameter {parameter} is not accepted: send the client credential in a header."
    return _answer({"prefix": "/", "headers": [any_query, query]}, 400, "credential_in_url", message)


def _any_spelling(character: str) -> str:
    """A pattern (RE2, for use without regard to case) for a character as it is or percent-encoded."""
    code = ord(character)
    high = f"[{code >> 4:x}{(code >> 4) - 2:x}]" if character.isalpha() else f"{code >> 4:x}"
    return f"(?:{re.escape(character)}|%{high}{code & 15:x})"


def _unknown_target() -> Json:
    message = "No target of this gateway has the id in the path."
    return _answer({"prefix": TARGET_PREFIX}, 404, "unknown_target", message)


def _answer(match: Json, status: int, code: str, message: str) -> Json:
    return {
        "match": match,
        "direct_response": {"status": status, "body": {"inline_string": json.dumps(error_body(code, message))}},
        "typed_per_filter_config": {MODEL_FILTER: _OFF},
    }


def _route(rule: Rule, *, reads_body: bool) -> Json:
    match: Json = {"prefix": rule.path_prefix or "/"}
    if rule.model:
        value = {"string_match": {"exact": rule.model}}
        match["dynamic_metadata"] = [{"filter": MODEL_NAMESPACE, "path": [{"key": MODEL_KEY}], "value": value}]
    route: Json = {
        "match": match,
        # Removed by the router before the upstream filters run, which then put the target's own key on.
        "request_headers_to_remove": [*STRIPPED_HEADERS, *_HIDDEN_HEADERS],
        "route": {
            "cluster": rule.destination.name,
            "timeout": "0s",
            "idle_timeout": _IDLE,
            "host_rewrite_literal": rule.destination.upstream.authority,
            "regex_rewrite": {
                "pattern": {"regex": rule.rewrite.pattern},
                "substitution": rule.rewrite.substitution,
            },
            # Only what never reached the provider is sent again, so nothing is billed twice.
            "retry_policy": {"retry_on": "connect-failure,refused-stream", "num_retries": 2},
        },
    }
    if not reads_body:
        route["typed_per_filter_config"] = {MODEL_FILTER: _OFF}
    return route

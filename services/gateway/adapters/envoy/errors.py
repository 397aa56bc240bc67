"""Answers Envoy gives by itself, as JSON in the form that OpenAI's SDKs read."""

from __future__ import annotations

from typing import Any, Final

from services.gateway.adapters.envoy.messages import TYPE

Json = dict[str, Any]

_CEL: Final = f"{TYPE}envoy.extensions.access_loggers.filters.cel.v3.ExpressionFilter"

_BY_STATUS: Final = {
    400: ("invalid_request", "The request is not valid HTTP for this gateway."),
    401: ("unauthenticated", "The request carries no valid client credential for this gateway."),
    403: ("forbidden", "The client credential is meant for another gateway or organisation."),
    404: ("not_found", "The gateway has nothing at this path."),
    408: ("timeout", "The request did not arrive in time."),
    413: ("body_too_large", "The request body is too large."),
    431: ("headers_too_large", "The request headers are too large."),
    503: ("provider_unreachable", "The provider can't be reached, or closed the connection without an answer."),
    504: ("provider_timeout", "The provider did not answer in time."),
}


def error_body(code: str, message: str) -> Json:
    return {"error": {"message": message, "type": "keeptrusts_gateway_error", "param": None, "code": code}}


def local_reply_config() -> Json:
    """First match wins. A provider's own answers are not touched."""
    return {
        "mappers": [
            # The gateway's own documents are JSON already.
            {"filter": _details('== "direct_response"'), "body_format_override": _document()},
            {
                "filter": _details('.startsWith("failed_to_inject")'),
                "status_code": 503,
                **_body("credential_unavailable", "The key of this target was withdrawn; see `kt gateway status`."),
            },
            *({"filter": _status(status), **_body(*told)} for status, told in _BY_STATUS.items()),
        ],
        "body_format": {"json_format": error_body("gateway_error", "The gateway could not serve the request.")},
    }


def _details(condition: str) -> Json:
    expression = {"@type": _CEL, "expression": f"response.code_details{condition}"}
    return {"extension_filter": {"name": "cel", "typed_config": expression}}


def _status(status: int) -> Json:
    value = {"default_value": status, "runtime_key": f"keeptrusts.local_reply.{status}"}
    return {"status_code_filter": {"comparison": {"op": "EQ", "value": value}}}


def _body(code: str, message: str) -> Json:
    return {"body_format_override": {"json_format": error_body(code, message)}}


def _document() -> Json:
    return {
        "text_format_source": {"inline_string": "%LOCAL_REPLY_BODY%"},
        "content_type": "application/json",
    }

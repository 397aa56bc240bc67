"""What is said of a request when it is over."""

from __future__ import annotations

import pytest

from services.gateway.domain.exchange import Exchange, judge, judge_control


def exchange(details: str, status: int, destination: str = "openai.0123") -> Exchange:
    return Exchange(1_700_000_000_000_000, 1500, 200, status, 10, 20, destination, "app", "jti", "127.0.0.1", details)


@pytest.mark.parametrize("status", [200, 201, 302, 400, 404, 409, 422])
def test_what_the_provider_answered_about_the_request_itself_was_served(status: int) -> None:
    assert judge(exchange("via_upstream", status)) == (None, None)


@pytest.mark.parametrize(
    ("details", "status", "failure"),
    [
        ("via_upstream", 401, "provider_unauthorized"),
        ("via_upstream", 403, "provider_forbidden"),
        ("via_upstream", 429, "rate_limited"),
        ("via_upstream", 500, "provider_error"),
        ("via_upstream", 529, "provider_error"),
        ("upstream_reset_before_response_started{remote_connection_failure|x}", 503, "provider_unreachable"),
        ("no_healthy_upstream", 503, "provider_unreachable"),
        ("upstream_reset_after_response_started{connection_termination}", 200, "stream_broken"),
        ("stream_idle_timeout", 504, "provider_timeout"),
        ("failed_to_inject_credential", 503, "credential_unavailable"),
        ("request_payload_too_large", 413, "body_too_large"),
        ("direct_response", 404, "unknown_target"),
        ("direct_response", 405, "method_not_allowed"),
        ("direct_response", 400, "credential_in_url"),
        ("direct_response", 418, "other"),
        ("downstream_remote_disconnect", 0, "client_disconnected"),
        ("something_new", 502, "other"),
    ],
)
def test_a_failure_is_named_by_what_caused_it(details: str, status: int, failure: str) -> None:
    assert judge(exchange(details, status)) == (failure, None)


def test_a_client_that_left_in_the_middle_of_the_answer_was_served() -> None:
    assert judge(exchange("downstream_remote_disconnect", 200)) == (None, None)


@pytest.mark.parametrize(
    ("details", "status", "refusal"),
    [
        ("jwt_authn_access_denied{Jwt_is_missing}", 401, "unauthenticated"),
        ("rbac_access_denied_matched_policy[none]", 403, "forbidden"),
        ("http1.codec_error", 400, "malformed"),
        ("request_header_timeout", 408, "malformed"),
        ("something_new", 500, "malformed"),
    ],
)
def test_who_is_not_known_is_refused(details: str, status: int, refusal: str) -> None:
    assert judge(exchange(details, status, destination="")) == (None, refusal)


@pytest.mark.parametrize(
    ("status", "refusal"), [(200, None), (409, None), (401, "control_refused"), (403, "control_refused")]
)
def test_of_the_gateways_own_endpoints_only_refusals_count(status: int, refusal: str | None) -> None:
    assert judge_control(exchange("via_upstream", status)) == (None, refusal)

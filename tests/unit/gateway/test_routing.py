"""Base URLs and the routing plan: which path the provider sees."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.gateway.adapters.envoy.clusters import cluster
from services.gateway.adapters.envoy.messages import CLUSTER, ROUTES, resource
from services.gateway.adapters.envoy.routes import route_configuration
from services.gateway.domain.config import GatewayConfig, Pack, Target
from services.gateway.domain.providers import CREDENTIAL_HEADERS, PROVIDERS
from services.gateway.domain.references import Reference, ReferenceKind
from services.gateway.domain.routing import plan_routes
from services.gateway.domain.upstreams import BaseUrlError, parse_base_url

KEY = Reference(ReferenceKind.STORE, "KEY")


def target(id_: str, url: str = "https://example.com", *models: str, provider: str = "openai") -> Target:
    return Target(id_, PROVIDERS[provider], models, parse_base_url(url), KEY)


def config(*targets: Target) -> GatewayConfig:
    return GatewayConfig(Pack("p", "1.0.0"), targets, None, "0" * 64)


def upstream_path(url: str, path: str) -> str:
    """What becomes of a client's path, by the first rule whose prefix it has."""
    plan = plan_routes(config(target("t-1", url)))
    rule = next(rule for rule in plan.rules if path.startswith(rule.path_prefix))
    return re.sub(rule.rewrite.pattern, rule.rewrite.substitution, path)


@pytest.mark.parametrize(
    ("url", "path", "expected"),
    [
        ("https://api.openai.com", "/v1/chat/completions", "/v1/chat/completions"),
        ("https://api.openai.com/", "/v1/chat/completions", "/v1/chat/completions"),
        ("https://api.openai.com/v1", "/v1/chat/completions", "/v1/chat/completions"),
        ("https://api.openai.com/v1/", "/v1/chat/completions", "/v1/chat/completions"),
        ("https://api.openai.com/v1", "/chat/completions", "/v1/chat/completions"),
        ("https://api.openai.com/v1", "/v1beta/models", "/v1/v1beta/models"),
        ("https://api.openai.com/v1", "/v1", "/v1/v1"),
        ("https://api.groq.com/openai", "/v1/models", "/openai/v1/models"),
        ("https://res.openai.azure.com", "/openai/deployments/d/chat", "/openai/deployments/d/chat"),
        ("https://res.openai.azure.com/openai", "/v1/chat", "/openai/v1/chat"),
        ("https://example.com/v1beta/openai", "/v1/chat/completions", "/v1beta/openai/chat/completions"),
        ("https://example.com/api/paas/v4", "/v1/chat/completions", "/api/paas/v4/chat/completions"),
        ("https://example.com/api/paas/v4", "/v4/chat/completions", "/api/paas/v4/chat/completions"),
        ("https://example.com/v1", "/targets/t-1/v1/chat", "/v1/chat"),
        ("https://example.com/v1", "/targets/t-1/chat", "/v1/chat"),
        ("https://example.com", "/targets/t-1/v1/chat", "/v1/chat"),
        ("https://example.com", "/targets/t-1/", "/"),
        ("https://example.com", "/", "/"),
    ],
)
def test_the_path_of_the_provider(url: str, path: str, expected: str) -> None:
    assert upstream_path(url, path) == expected


_SEGMENTS = st.lists(st.sampled_from(["v1", "openai", "api", "v1beta", "chat"]), max_size=3)


@given(_SEGMENTS, _SEGMENTS)
def test_a_path_stays_below_the_base_url_which_replaces_its_version(base: list[str], rest: list[str]) -> None:
    prefix, tail = ("".join(f"/{segment}" for segment in segments) for segments in (base, rest))
    result = upstream_path(f"https://example.com{prefix}", f"/v1{tail}/x")
    names_version = {"v1", "v1beta"} & set(base)
    assert result == prefix + ("" if names_version else "/v1") + f"{tail}/x"


@pytest.mark.parametrize(
    ("url", "authority"),
    [
        ("https://api.openai.com", "api.openai.com"),
        ("https://api.openai.com:443", "api.openai.com"),
        ("https://api.openai.com:8443", "api.openai.com:8443"),
        ("http://127.0.0.1:80", "127.0.0.1"),
        ("http://[::1]:8080", "[::1]:8080"),
        ("https://API.OpenAI.com", "api.openai.com"),
    ],
)
def test_the_host_header_is_the_providers_own(url: str, authority: str) -> None:
    assert parse_base_url(url).authority == authority


@given(st.text(max_size=60))
def test_a_base_url_is_either_understood_or_refused_without_being_repeated(text: str) -> None:
    told = ""
    try:
        upstream = parse_base_url(f"https://{text}")
        assert upstream.host
        assert not set(upstream.host + upstream.path) & set("\r\n\t @?#%\\\"'<> ")
    except BaseUrlError as error:
        told = str(error)
    assert len(text) < 8 or text not in told


def test_rules_go_by_path_then_by_model_then_to_the_first_target() -> None:
    plan = plan_routes(
        config(target("a"), target("b", "https://b.com", "m1", "m2"), target("c", "https://c.com", "m2"))
    )
    assert [(rule.path_prefix, rule.model, rule.destination.target) for rule in plan.rules] == [
        ("/targets/a/", "", "a"),
        ("/targets/b/", "", "b"),
        ("/targets/c/", "", "c"),
        ("", "m1", "b"),
        ("", "m2", "b"),
        ("", "", "a"),
    ]


def test_bodies_are_read_only_when_a_model_selects() -> None:
    assert not plan_routes(config(target("a"), target("b"))).reads_body
    assert plan_routes(config(target("a"), target("b", "https://b.com", "m"))).reads_body


def test_a_destination_changes_its_name_with_everything_but_the_key() -> None:
    base = target("a")
    changed = [
        target("b"),
        target("a", "https://other.com"),
        target("a", "https://example.com/v1"),
        target("a", "http://example.com"),
        target("a", provider="anthropic"),
        replace(base, reference=Reference(ReferenceKind.ENV, "KEY")),
        replace(base, reference=Reference(ReferenceKind.STORE, "KEY_V2")),
    ]
    names = {plan_routes(config(item)).destinations[0].name for item in [base, *changed]}
    assert len(names) == 1 + len(changed)
    assert plan_routes(config(replace(base, models=("m",)))).destinations[0].name in names


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("url", ["https://a.com", "http://127.0.0.1:1", "https://a.com/v1"])
def test_every_plan_is_a_message_envoy_knows(provider: str, url: str) -> None:
    plan = plan_routes(config(target("a", url, "m", provider=provider), target("b")))
    assert resource(ROUTES, route_configuration(plan)).value
    for destination in plan.destinations:
        assert resource(CLUSTER, cluster(destination, "/ca.pem")).value


def test_every_route_to_a_provider_takes_the_clients_credentials_off() -> None:
    (host,) = route_configuration(plan_routes(config(target("a", "https://a.com", "m"))))["virtual_hosts"]
    to_provider = [route for route in host["routes"] if route.get("route", {}).get("cluster", "").startswith("a.")]
    assert len(to_provider) == 3
    for route in to_provider:
        assert set(CREDENTIAL_HEADERS) < set(route["request_headers_to_remove"])
        assert route["route"]["timeout"] == "0s"
        assert "5xx" not in route["route"]["retry_policy"]["retry_on"]

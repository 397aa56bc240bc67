"""/v1/events, /v1/gateways, and what operators look at."""

from __future__ import annotations

import json
from functools import partial

import pytest

from libs.common.errors import KtError
from libs.common.protocol import audit, resolver
from libs.common.service import HealthReply, HealthRequest, health_endpoint
from services.api.application.readiness import SERVICES
from tests.unit.api.system import System, token_for

DOCUMENT = '{"data":{"category":"secret_management"},"id":"é","specversion":"1.0"}'


async def test_events_go_out_byte_for_byte(system: System) -> None:
    page = audit.EventPage(items=[DOCUMENT, "{}"], positions=[("KT_EVENTS", 9), ("KT_ACCESS", 4)], next_cursor="c1")
    system.bus.on(audit.LIST, lambda _: page)

    answer = await system.ask("GET", "/v1/events?filter=category%3Dsecret_management&limit=2")

    assert DOCUMENT.encode() in answer.body
    assert answer.json() == {
        "items": [json.loads(DOCUMENT), {}],
        "positions": [{"stream": "KT_EVENTS", "sequence": 9}, {"stream": "KT_ACCESS", "sequence": 4}],
        "next_cursor": "c1",
    }
    (asked,) = system.bus.requests(audit.LIST)
    assert (asked.org, asked.filter, asked.limit) == ("default", "category=secret_management", 2)


async def test_an_empty_page_is_a_page(system: System) -> None:
    system.bus.on(audit.LIST, lambda _: audit.EventPage(items=[], positions=[], next_cursor=""))

    answer = await system.ask("GET", "/v1/events")

    assert answer.json() == {"items": [], "positions": [], "next_cursor": None}
    assert system.bus.requests(audit.LIST)[0].limit == 50


async def test_the_log_can_be_followed(system: System) -> None:
    system.bus.on(audit.LIST, lambda _: audit.EventPage(items=[], positions=[], next_cursor="c2"))

    await system.ask("GET", "/v1/events?follow=true&cursor=c1")

    (asked,) = system.bus.requests(audit.LIST)
    assert (asked.follow, asked.cursor) == (True, "c1")


@pytest.mark.parametrize(
    "query", ["limit=501", "follow=perhaps", "filter=" + "x" * 4097, "cursor=" + "x" * 1025, "category=a"]
)
async def test_a_query_that_is_not_understood_is_refused(system: System, query: str) -> None:
    answer = await system.ask("GET", f"/v1/events?{query}")

    assert (answer.status, answer.code) == (422, "invalid_request")
    assert not system.bus.asked


async def test_a_filter_that_the_audit_service_refuses_is_told(system: System) -> None:
    system.bus.fails(audit.LIST, KtError("invalid_filter", "There is no such key."))

    answer = await system.ask("GET", "/v1/events?filter=a%3Db")

    assert (answer.status, answer.code) == (422, "invalid_filter")


async def test_gateways_show_what_they_use(system: System) -> None:
    target = resolver.GatewayTarget(target="openai", store="store", reference="OPENAI_API_KEY", version=2)
    item = resolver.GatewayView(
        name="keeptrusts-proxy",
        config_digest="d",
        targets=[target],
        seen_at="2026-11-23T07:39:03.192164Z",
        references=["*"],
    )
    system.bus.on(resolver.GATEWAYS, lambda _: resolver.GatewayList(items=[item]))

    (shown,) = (await system.ask("GET", "/v1/gateways", token=token_for("auditor"))).json()["items"]

    assert (shown["name"], shown["targets"][0]["version"]) == ("keeptrusts-proxy", 2)


def all_ready(system: System) -> None:
    for service in SERVICES:
        reply = HealthReply(service=service, ready=True)
        system.bus.on(health_endpoint(service), partial(_always, reply))


def _always(reply: HealthReply, _request: HealthRequest) -> HealthReply:
    return reply


async def test_the_process_is_healthy_while_it_runs(system: System) -> None:
    assert (await system.ask("GET", "/healthz", token="")).status == 200


async def test_the_door_is_ready_when_all_behind_it_are(system: System) -> None:
    all_ready(system)

    answer = await system.ask("GET", "/readyz", token="")

    assert answer.status == 200
    assert (answer.json()["ready"], answer.json()["services"]) == (True, dict.fromkeys(SERVICES, True))


async def test_who_is_not_ready_is_named(system: System) -> None:
    all_ready(system)
    del system.bus.answers["kt.health.v1.keys"]
    system.bus.on(health_endpoint("audit"), lambda _: HealthReply(service="audit", ready=False))

    answer = await system.ask("GET", "/readyz", token="")

    assert (answer.status, answer.code) == (503, "unavailable")
    assert answer.json()["services"] == {**dict.fromkeys(SERVICES, True), "keys": False, "audit": False}
    assert "keys, audit" in answer.json()["detail"]


async def test_asking_often_does_not_ask_the_others_often(system: System) -> None:
    all_ready(system)
    for _ in range(5):
        await system.ask("GET", "/readyz", token="")
    assert len(system.bus.asked) == len(SERVICES)

    system.elapsed += 1
    await system.ask("GET", "/readyz", token="")
    assert len(system.bus.asked) == 2 * len(SERVICES)


async def test_metrics_count_by_route_and_not_by_path(system: System) -> None:
    for name in ("A", "B", "C"):
        await system.ask("GET", f"/v1/config-variables/{name}")
    await system.ask("GET", "/canary-4711")
    await system.ask("BREW", "/canary-4711")

    exposed = (await system.ask("GET", "/metrics", token="")).body.decode()

    assert 'kt_http_requests_total{method="GET",route="/v1/config-variables/{name}",status="200"} 3.0' in exposed
    assert 'kt_http_requests_total{method="other",route="(none)",status="404"} 1.0' in exposed
    assert "kt_http_request_duration_seconds_bucket" in exposed
    assert "canary-4711" not in exposed

"""What holds for every request: ids, retries, preconditions, limits, problem documents."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from libs.common.protocol import command, resolver
from tests.unit.api.http import request
from tests.unit.api.system import System, outcome, token_for, view

PATH = "/v1/config-variables/A"
CREATE = {"name": "A", "value": "v"}


async def test_a_request_gets_an_id(system: System) -> None:
    answer = await system.ask("GET", PATH)

    assert answer.headers["x-request-id"].startswith("id-")


@pytest.mark.parametrize("given", ["a", "req-1.2_3", "R" * 64])
async def test_a_request_keeps_the_id_it_came_with(system: System, given: str) -> None:
    answer = await system.ask("GET", "/nowhere", headers={"X-Request-Id": given})

    assert answer.headers["x-request-id"] == given
    assert answer.json()["request_id"] == given


@pytest.mark.parametrize("given", ["", "R" * 65, "a b", "a\nb", "é", "a/b", "sk-proj-0123456789abcdef0123"])
async def test_an_id_that_can_t_be_kept_is_replaced(system: System, given: str) -> None:
    answer = await system.ask("GET", PATH, headers={"X-Request-Id": given})

    assert answer.headers["x-request-id"].startswith("id-")


async def test_a_route_that_does_not_exist_is_a_problem(system: System) -> None:
    for path in ("/", "/v1", "/v1/config-variables/", "/v1/config-variables/A/", "/docs", "/redoc", "/v2/x"):
        answer = await system.ask("GET", path)
        assert (answer.status, answer.code) == (404, "not_found"), path


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", PATH, "DELETE, GET, PATCH"),
        ("DELETE", "/v1/config-variables", "GET, POST"),
        ("PATCH", "/v1/tokens", "GET, POST"),
        ("HEAD", "/healthz", "GET"),
        ("OPTIONS", "/v1/events", "GET"),
        ("BREW", "/v1/events", "GET"),
    ],
)
async def test_a_method_that_is_not_served_is_a_problem(system: System, method: str, path: str, allowed: str) -> None:
    answer = await system.ask(method, path)

    assert (answer.status, answer.code, answer.headers["allow"]) == (405, "method_not_allowed", allowed)


async def test_a_problem_has_its_members(system: System) -> None:
    document = (await system.ask("POST", "/v1/config-variables", {"name": "a b", "value": "v"})).json()

    assert document["type"] == "urn:keeptrusts:error:invalid_name"
    assert document["title"] == "The name is not valid"
    assert document["status"] == 422
    assert document["errors"][0]["field"] == "name"
    assert {"detail", "hint", "code", "request_id"} <= document.keys()


async def test_the_same_idempotency_key_makes_the_same_command(system: System) -> None:
    headers = {"Idempotency-Key": "deploy-17"}
    for _ in range(2):
        await system.ask("POST", f"{PATH}/rotate", {"value": "v"}, headers=headers)

    first, second = system.bus.requests(command.CONFIG_VARIABLE)
    assert first.command_id == second.command_id


async def test_an_idempotency_key_is_the_caller_s_own_and_of_one_resource(system: System) -> None:
    headers = {"Idempotency-Key": "deploy-17"}
    await system.ask("POST", f"{PATH}/rotate", {"value": "v"}, headers=headers)
    await system.ask("POST", f"{PATH}2/rotate", {"value": "v"}, headers=headers)
    await system.ask("POST", f"{PATH}/rollback", {"version": 1}, headers=headers)
    await system.ask("DELETE", PATH, headers=headers)
    await system.ask("PATCH", PATH, {"sensitive": True}, headers=headers)
    await system.ask("DELETE", PATH, headers=headers, token=token_for("operator"))
    await system.ask("DELETE", PATH, headers=headers, token=token_for("admin", sub="bob"))
    await system.ask("DELETE", PATH, headers=headers, token=token_for("admin", org="acme"))
    await system.ask("DELETE", PATH, headers={"Idempotency-Key": "deploy-18"})

    ids = [r.command_id for r in system.bus.requests(command.CONFIG_VARIABLE)]
    assert len(set(ids)) == len(ids) == 9


async def test_without_an_idempotency_key_each_request_is_a_command_of_its_own(system: System) -> None:
    for _ in range(2):
        await system.ask("DELETE", PATH)

    first, second = system.bus.requests(command.CONFIG_VARIABLE)
    assert first.command_id != second.command_id


async def test_a_replayed_outcome_says_so(system: System) -> None:
    fresh = await system.ask("POST", "/v1/config-variables", CREATE)
    system.bus.on(command.CONFIG_VARIABLE, lambda r: outcome(r, replayed=True))
    replayed = await system.ask("POST", "/v1/config-variables", CREATE)
    deleted = await system.ask("DELETE", PATH)

    assert "idempotency-replayed" not in fresh.headers
    assert (replayed.status, replayed.headers["idempotency-replayed"]) == (201, "true")
    assert (deleted.status, deleted.headers["idempotency-replayed"]) == (204, "true")


@pytest.mark.parametrize("key", ["", "a b", "é", "k" * 256, "tab\t"])
async def test_an_idempotency_key_that_is_none_is_refused(system: System, key: str) -> None:
    answer = await system.ask("POST", "/v1/config-variables", CREATE, headers={"Idempotency-Key": key})

    assert (answer.status, answer.code) == (422, "invalid_request")
    assert not system.bus.requests(command.CONFIG_VARIABLE)


@pytest.mark.parametrize(("given", "expected"), [('"42"', 42), ("*", None), (' "7" ', 7), (None, None)])
async def test_if_match_becomes_the_expected_sequence(
    system: System, given: str | None, expected: int | None
) -> None:
    await system.ask("DELETE", PATH, headers={"If-Match": given} if given else {})

    assert system.bus.requests(command.CONFIG_VARIABLE)[0].expected_sequence == expected


@pytest.mark.parametrize(
    "given", ['W/"42"', "42", '"42', '"42", "43"', '"0"', '"-1"', '"x"', '""', '"' + "9" * 40 + '"']
)
async def test_an_etag_that_is_weak_or_none_is_refused(system: System, given: str) -> None:
    answer = await system.ask("DELETE", PATH, headers={"If-Match": given})

    assert (answer.status, answer.code) == (422, "invalid_request")
    assert answer.json()["errors"][0]["field"] == "If-Match"
    assert not system.bus.requests(command.CONFIG_VARIABLE)


@pytest.mark.parametrize(
    ("given", "status"), [('"42"', 304), ('W/"42"', 304), ('"41", "42"', 304), ("*", 304), ('"41"', 200)]
)
async def test_a_state_the_caller_knows_is_not_sent_again(system: System, given: str, status: int) -> None:
    answer = await system.ask("GET", PATH, headers={"If-None-Match": given})

    assert (answer.status, answer.headers["etag"]) == (status, '"42"')
    assert (answer.body == b"") == (status == 304)


async def test_too_many_requests_at_once_are_refused_and_health_is_not(caplog: pytest.LogCaptureFixture) -> None:
    system, release = System(max_active=2), asyncio.Event()
    call = system.bus.call

    async def slow(*args: Any, **options: Any) -> Any:
        await release.wait()
        return await call(*args, **options)

    system.bus.call = slow  # type: ignore[method-assign]
    waiting = [asyncio.create_task(system.ask("GET", PATH)) for _ in range(2)]
    await asyncio.sleep(0)

    refused = await system.ask("GET", PATH)
    assert (refused.status, refused.code, refused.headers["retry-after"]) == (503, "overloaded", "1")
    assert (await system.ask("GET", "/healthz", token="")).status == 200

    release.set()
    assert [answer.status for answer in await asyncio.gather(*waiting)] == [200, 200]
    assert (await system.ask("GET", PATH)).status == 200


async def test_what_fails_inside_is_a_problem_without_details(
    system: System, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(_: resolver.GetSecret) -> resolver.SecretView:
        raise RuntimeError("canary-4711")

    system.bus.on(resolver.GET, broken)
    answer = await system.ask("GET", PATH)

    assert (answer.status, answer.code) == (500, "internal")
    assert b"canary-4711" not in answer.everything
    assert "http.failed" in caplog.text


async def test_a_request_is_logged_by_its_route_and_not_by_its_path(
    system: System, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    await system.ask("GET", "/v1/config-variables/canary-4711", headers={"X-Request-Id": "r1"})
    await system.ask("GET", "/canary-4711")

    found, unknown = [r for r in caplog.records if r.getMessage() == "http.request"]
    assert vars(found)["route"] == "/v1/config-variables/{name}"
    assert (vars(found)["status"], vars(found)["request_id"], vars(found)["actor"]) == (200, "r1", "admin/admin-1")
    assert vars(found)["ms"] >= 0
    assert (vars(unknown)["route"], vars(unknown)["status"], vars(unknown)["actor"]) == ("(none)", 404, "")
    assert "canary-4711" not in "".join(str(vars(r)) for r in caplog.records)


async def test_every_answer_tells_browsers_not_to_guess(system: System) -> None:
    for target in (PATH, "/healthz", "/nowhere"):
        assert (await system.ask("GET", target)).headers["x-content-type-options"] == "nosniff"


async def test_a_caller_who_leaves_in_the_middle_of_a_body_is_no_failure(
    system: System, caplog: pytest.LogCaptureFixture
) -> None:
    sent: list[object] = []

    async def receive() -> dict[str, object]:
        return {"type": "http.disconnect"}

    async def send(message: object) -> None:
        sent.append(message)

    headers = [
        (b"authorization", f"Bearer {token_for('admin')}".encode()),
        (b"content-type", b"application/json"),
    ]
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/v1/config-variables",
        "query_string": b"",
        "headers": headers,
    }
    await system.app(scope, receive, send)

    assert "http.failed" not in caplog.text
    assert not system.bus.asked


async def test_a_get_with_a_body_ignores_it(system: System) -> None:
    system.bus.on(resolver.GET, lambda r: view(r.name))
    headers = {"Authorization": f"Bearer {token_for('admin')}"}

    assert (await request(system.app, "GET", PATH, headers, b"{" * 100)).status == 200

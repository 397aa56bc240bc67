"""Who was refused with a valid token is on record, however often, and no flood of records comes of it."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from services.api.application import denials as module
from tests.unit.api.system import NOW, System, token_for

DENIED = "kt.operation.denied.v1"


async def recorded(system: System) -> list[dict[str, Any]]:
    await system.door.denials.flush()
    return system.access.documents(DENIED)


async def test_a_request_that_a_token_does_not_allow_is_on_record(system: System) -> None:
    body = {"name": "A", "value": "x"}
    headers = {"X-Request-Id": "r-1"}
    answer = await system.ask("POST", "/v1/config-variables", body, token=token_for("auditor"), headers=headers)
    assert answer.status == 403
    (document,) = await recorded(system)
    assert document["data"]["actor"] == {"type": "auditor", "id": "auditor-1"}
    assert document["data"]["resource"] == {"type": "operation", "id": "create_config_variable"}
    assert document["data"]["request"]["id"] == "r-1"
    assert document["data"]["outcome"] == {"result": "failure", "reason": "insufficient_scope"}
    at = "2026-11-23T07:39:03.000000Z"
    assert document["data"]["detail"] == {
        "reason": "insufficient_scope",
        "scope": "config_variables:write",
        "token": "jti-1",
        "count": 1,
        "first_at": at,
        "last_at": at,
    }
    assert system.access.subjects == ["kt.access.v1.default.operation.create_config_variable"]


async def test_more_than_the_caller_has_can_not_be_granted_and_the_attempt_is_on_record(system: System) -> None:
    token = token_for("admin", refs=["OPENAI_*"])
    answer = await system.ask(
        "POST", "/v1/tokens", {"role": "machine", "name": "ci", "references": ["*"]}, token=token
    )
    assert answer.status == 403
    (document,) = await recorded(system)
    assert document["data"]["resource"]["id"] == "issue_token"
    assert (document["data"]["detail"]["reason"], document["data"]["detail"]["scope"]) == ("forbidden", "")


async def test_the_same_refusal_again_and_again_is_one_record_with_its_number(system: System) -> None:
    for second in range(50):
        system.clock.moment = NOW + timedelta(seconds=second)
        await system.ask("GET", "/v1/events", token=token_for("machine"))
        await system.ask("GET", "/v1/events", token=token_for("machine", sub="other"))
    documents = await recorded(system)
    assert [(d["data"]["actor"]["id"], d["data"]["detail"]["count"]) for d in documents] == [
        ("machine-1", 50),
        ("other", 50),
    ]
    detail = documents[0]["data"]["detail"]
    assert (detail["first_at"][17:19], detail["last_at"][17:19]) == ("03", "52")
    assert len(await recorded(system)) == 2


async def test_what_can_not_be_put_on_record_is_counted_on(system: System) -> None:
    system.access.away = True
    for _ in range(3):
        await system.ask("GET", "/v1/events", token=token_for("machine"))
        assert await recorded(system) == []
    system.access.away = False
    (document,) = await recorded(system)
    assert document["data"]["detail"]["count"] == 3


async def test_they_are_put_on_record_by_themselves(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "EVERY_S", 0.001)
    running = asyncio.create_task(system.door.denials.run())
    try:
        await system.ask("GET", "/v1/events", token=token_for("machine"))
        async with asyncio.timeout(30):
            while True:
                if system.access.documents(DENIED):
                    break
                await asyncio.sleep(0.001)
    finally:
        running.cancel()


async def test_an_answer_that_refuses_nobody_makes_no_record(system: System) -> None:
    assert (await system.ask("GET", "/v1/nowhere")).status == 404
    assert (await system.ask("GET", "/v1/gateways", token="")).status == 401
    assert (await system.ask("POST", "/v1/config-variables", {"name": "a/b", "value": "x"})).status == 422
    assert await recorded(system) == []

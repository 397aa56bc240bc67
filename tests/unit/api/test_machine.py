"""/v1/machine: values for programs, all or none."""

from __future__ import annotations

import base64
import json
from datetime import timedelta
from typing import Any

import pytest

from libs.common.hpke import BoxPrivateKey
from libs.common.protocol import command, resolver
from libs.common.protocol.keys import resolve_context
from tests.unit.api.system import System, boxed_reply, token_for

VALUES = {"OPENAI_API_KEY": "sk-1", "ANTHROPIC_API_KEY": "sk-ant-é"}
USER = "UB6FN4ZX4PQE6RIZXUD3NRCO3MHWIZNW44UJJDLAD2WE2CQH6GOE7KUF"
MACHINE = token_for("machine", refs=["OPENAI_*"])


def resolves(system: System, requester: str = "machine/machine-1") -> None:
    system.bus.on(
        resolver.RESOLVE,
        lambda r: boxed_reply(
            r.caller.org, requester, r.recipient_key, {n: VALUES[n] for n in dict.fromkeys(r.references)}
        ),
    )


def refuses(system: System, **reasons: str) -> None:
    def answer(request: resolver.ResolveForCaller) -> resolver.ResolveReply:
        values = {n: VALUES[n] for n in request.references if n not in reasons}
        reply = boxed_reply("default", "machine/machine-1", request.recipient_key, values)
        failed = [resolver.Resolution(reference=n, status="failed", reason=r) for n, r in reasons.items()]
        return resolver.ResolveReply(results=[*reply.results, *failed], box=reply.box if values else None)

    system.bus.on(resolver.RESOLVE, answer)


async def test_one_value_is_answered_with_its_version(system: System) -> None:
    resolves(system)

    answer = await system.ask("GET", "/v1/machine/config-variables/OPENAI_API_KEY", token=MACHINE)

    assert (answer.status, answer.headers["cache-control"]) == (200, "no-store")
    assert answer.json() == {"name": "OPENAI_API_KEY", "value": "sk-1", "version": 3}


async def test_the_token_s_references_limit_what_may_be_resolved(system: System) -> None:
    resolves(system)
    await system.ask("GET", "/v1/machine/config-variables/OPENAI_API_KEY", token=MACHINE)

    (asked,) = system.bus.requests(resolver.RESOLVE)
    assert asked.references_allowed == ("OPENAI_*",)
    assert (asked.caller.actor_type, asked.caller.actor_id) == ("machine", "machine-1")


@pytest.mark.parametrize(
    ("reason", "status", "code"),
    [
        ("not_found", 404, "not_found"),
        ("deleted", 404, "not_found"),
        ("not_permitted", 403, "forbidden"),
        ("undecryptable", 500, "undecryptable"),
        ("invalid_reference", 422, "invalid_name"),
        ("a_new_reason", 409, "unresolved"),
    ],
)
async def test_a_value_that_can_t_be_had_is_an_error_with_the_reason(
    system: System, reason: str, status: int, code: str
) -> None:
    refuses(system, OPENAI_API_KEY=reason)

    answer = await system.ask("GET", "/v1/machine/config-variables/OPENAI_API_KEY", token=MACHINE)

    assert (answer.status, answer.code, answer.json()["reason"]) == (status, code, reason)


async def test_several_values_are_answered_in_the_order_asked(system: System) -> None:
    resolves(system)

    answer = await system.ask("POST", "/v1/machine/resolve", {"references": list(VALUES)}, token=MACHINE)

    assert answer.headers["cache-control"] == "no-store"
    assert answer.json() == {
        "results": [
            {"reference": name, "version": 3, "sequence": 42, "value": value} for name, value in VALUES.items()
        ]
    }


async def test_a_reference_may_be_named_twice(system: System) -> None:
    resolves(system)

    answer = await system.ask("POST", "/v1/machine/resolve", {"references": ["OPENAI_API_KEY"] * 2}, token=MACHINE)

    assert [r["value"] for r in answer.json()["results"]] == ["sk-1"]


async def test_a_box_is_passed_through_and_only_its_recipient_opens_it(system: System) -> None:
    resolves(system)
    mine = BoxPrivateKey.generate()
    body = {"references": list(VALUES), "recipient_key": base64.b64encode(mine.public.encoded).decode()}

    answer = await system.ask("POST", "/v1/machine/resolve", body, token=MACHINE)

    document = answer.json()
    context = resolve_context(document["org"], document["requester"], mine.public.encoded)
    opened = json.loads(mine.open(base64.b64decode(document["box"]), context).reveal())
    assert {name: base64.b64decode(value).decode() for name, value in opened.items()} == VALUES
    assert all("value" not in result for result in document["results"])
    assert b"sk-1" not in answer.everything


@pytest.mark.parametrize("boxed", [True, False])
async def test_when_one_fails_none_is_handed_out(system: System, boxed: bool) -> None:
    refuses(system, OPENAI_API_KEY="deleted")
    body: dict[str, Any] = {"references": ["ANTHROPIC_API_KEY", "OPENAI_API_KEY"]}
    if boxed:
        body["recipient_key"] = base64.b64encode(BoxPrivateKey.generate().public.encoded).decode()

    answer = await system.ask("POST", "/v1/machine/resolve", body, token=MACHINE)

    assert (answer.status, answer.code) == (409, "unresolved")
    assert answer.json()["errors"] == [{"field": "references.1", "problem": "deleted", "expected": ""}]
    assert "box" not in answer.json()
    assert b"sk-ant" not in answer.everything


async def test_a_box_for_somebody_else_is_not_taken_for_an_answer(system: System) -> None:
    resolves(system, requester="machine/another")

    answer = await system.ask("GET", "/v1/machine/config-variables/OPENAI_API_KEY", token=MACHINE)

    assert (answer.status, answer.code) == (500, "undecryptable")


@pytest.mark.parametrize(
    ("body", "code", "field"),
    [
        ({"references": []}, "invalid_request", "references"),
        ({"references": ["A"] * 101}, "invalid_request", "references"),
        ({"references": "A"}, "invalid_request", "references"),
        ({"references": ["A", 5]}, "invalid_request", "references.1"),
        ({"references": ["A", "a/b"]}, "invalid_name", "references.1"),
        ({"references": ["sk-proj-0123456789abcdef0123"]}, "name_looks_like_secret", "references.0"),
        ({"references": ["A"], "recipient_key": "AAAA"}, "invalid_request", "recipient_key"),
        ({"references": ["A"], "recipient_key": "not base64!"}, "invalid_request", "recipient_key"),
        ({"references": ["A"], "recipient_key": 5}, "invalid_request", "recipient_key"),
        ({"references": ["A"], "recipient_key": "é"}, "invalid_request", "recipient_key"),
        ({}, "invalid_request", "references"),
    ],
)
async def test_a_request_that_is_not_understood_is_refused(system: System, body: Any, code: str, field: str) -> None:
    answer = await system.ask("POST", "/v1/machine/resolve", body, token=MACHINE)

    assert (answer.status, answer.code) == (422, code)
    assert answer.json()["errors"][0]["field"] == field
    assert not system.bus.asked


async def test_a_gateway_gets_an_identity_under_its_own_name(system: System) -> None:
    system.bus.on(command.GATEWAY, lambda _: command.Recorded(sequence=9))
    token = token_for("gateway", sub="keeptrusts-proxy", refs=["OPENAI_*"])

    answer = await system.ask("POST", "/v1/machine/bus-identity", {"user_public_key": USER}, token=token)

    assert answer.headers["cache-control"] == "no-store"
    assert answer.json() == {
        "nats_url": "nats://bus.example:4222",
        "user_jwt": f"jwt.default.keeptrusts-proxy.jti-1.{USER}.900",
        "expires_at": "2026-11-23T07:54:03.000000Z",
        "org": "default",
        "name": "keeptrusts-proxy",
        "token_id": "jti-1",
    }
    (enrolled,) = system.bus.requests(command.GATEWAY)
    assert (enrolled.gateway, enrolled.token_id, enrolled.references) == ("keeptrusts-proxy", "jti-1", ("OPENAI_*",))


async def test_an_identity_does_not_outlive_its_token(system: System) -> None:
    system.bus.on(command.GATEWAY, lambda _: command.Recorded(sequence=9))
    token = token_for("gateway", sub="edge-1", ttl=timedelta(minutes=2))

    answer = await system.ask("POST", "/v1/machine/bus-identity", {"user_public_key": USER}, token=token)

    assert answer.json()["expires_at"] == "2026-11-23T07:41:03.000000Z"
    assert answer.json()["user_jwt"].endswith(".120")


async def test_a_gateway_can_t_be_another(system: System) -> None:
    token = token_for("gateway", sub="keeptrusts-proxy")
    body = {"user_public_key": USER, "name": "another"}

    answer = await system.ask("POST", "/v1/machine/bus-identity", body, token=token)

    assert (answer.status, answer.code) == (403, "forbidden")
    assert not system.bus.asked


async def test_an_admin_names_the_gateway(system: System) -> None:
    system.bus.on(command.GATEWAY, lambda _: command.Recorded(sequence=9))

    unnamed = await system.ask("POST", "/v1/machine/bus-identity", {"user_public_key": USER})
    named = await system.ask("POST", "/v1/machine/bus-identity", {"user_public_key": USER, "name": "edge-1"})

    assert (unnamed.status, unnamed.json()["errors"][0]["field"]) == (422, "name")
    assert named.json()["name"] == "edge-1"


async def test_no_identity_without_a_record(system: System) -> None:
    answer = await system.ask("POST", "/v1/machine/bus-identity", {"user_public_key": USER, "name": "edge-1"})

    assert (answer.status, answer.code) == (503, "unavailable")
    assert b"jwt." not in answer.everything

"""/v1/git-tokens: the rules of config variables, and a value that is never shown."""

from __future__ import annotations

from typing import Any

import pytest

from libs.common.errors import KtError
from libs.common.protocol import command, keys, resolver
from tests.unit.api.system import TRANSPORT, System, outcome, token_for, view

PATH = "/v1/git-tokens"
VALUE = "github_pat_the-value-itself-0123456789"
CREATE = {"name": "CONFIG_REPO", "value": VALUE, "description": "Gateway configuration"}
SHOWN = {
    "name": "CONFIG_REPO",
    "description": "Gateway configuration",
    "version": 1,
    "sequence": 42,
    "created_at": "2026-11-23T07:39:03.192164Z",
    "updated_at": "2026-11-23T07:39:03.192164Z",
}


async def test_a_token_is_created_and_no_answer_has_a_place_for_its_value(system: System) -> None:
    answer = await system.ask("POST", PATH, CREATE)

    assert (answer.status, answer.json()) == (201, SHOWN)
    assert answer.headers["location"] == f"{PATH}/CONFIG_REPO"
    assert answer.headers["etag"] == '"42"'


async def test_the_value_is_boxed_for_its_kind_and_name(system: System) -> None:
    await system.ask("POST", PATH, CREATE)

    (sent,) = system.bus.requests(command.GIT_TOKEN)
    assert sent.value is not None
    assert sent.sensitive is True
    opened = TRANSPORT.open(sent.value.box, keys.seal_context("default", "git_token", "CONFIG_REPO"))
    assert opened.reveal() == VALUE.encode()
    with pytest.raises(KtError):
        TRANSPORT.open(sent.value.box, keys.seal_context("default", "config_variable", "CONFIG_REPO"))
    assert not system.bus.requests(command.CONFIG_VARIABLE)


@pytest.mark.parametrize(
    ("method", "tail", "body", "expected"),
    [
        ("PATCH", "", {"description": None}, {"command": "update", "description": "", "sensitive": None}),
        ("POST", "/rotate", {"value": VALUE}, {"command": "rotate"}),
        ("POST", "/rollback", {"version": 2}, {"command": "roll_back", "to_version": 2}),
        ("DELETE", "", None, {"command": "delete"}),
    ],
)
async def test_a_change_is_one_command_with_its_conditions(
    system: System, method: str, tail: str, body: Any, expected: dict[str, Any]
) -> None:
    headers = {"Idempotency-Key": "k1", "If-Match": '"41"'}
    answers = [await system.ask(method, f"{PATH}/CONFIG_REPO{tail}", body, headers=headers) for _ in range(2)]

    first, second = system.bus.requests(command.GIT_TOKEN)
    assert {answer.status for answer in answers} == {204 if method == "DELETE" else 200}
    assert first.command_id == second.command_id
    assert first.expected_sequence == 41
    assert first.model_dump().items() >= expected.items()


async def test_the_same_key_on_the_other_kind_is_another_command(system: System) -> None:
    for path in (PATH, "/v1/config-variables"):
        await system.ask("POST", path, {**CREATE}, headers={"Idempotency-Key": "k1"})

    ids = [request.command_id for _, request in system.bus.asked if isinstance(request, command.SecretCommand)]
    assert len(set(ids)) == 2


async def test_reading_asks_for_this_kind(system: System) -> None:
    system.bus.on(resolver.LIST, lambda _: resolver.SecretList(items=[view("CONFIG_REPO")], more=True, after="A"))
    system.bus.on(resolver.HISTORY, lambda _: resolver.SecretHistory(items=[]))
    listed = await system.ask("GET", f"{PATH}?prefix=C&limit=1")
    cursor = listed.json()["next_cursor"]
    assert (await system.ask("GET", f"{PATH}?prefix=C&cursor={cursor}")).status == 200
    other = await system.ask("GET", f"/v1/config-variables?prefix=C&cursor={cursor}")
    one = await system.ask("GET", f"{PATH}/CONFIG_REPO")
    unchanged = await system.ask("GET", f"{PATH}/CONFIG_REPO", headers={"If-None-Match": one.headers["etag"]})
    assert (await system.ask("GET", f"{PATH}/CONFIG_REPO/history")).json() == {"items": []}

    assert (one.status, unchanged.status) == (200, 304)
    assert (other.status, other.json()["code"]) == (422, "invalid_cursor")
    assert listed.json()["items"][0].keys() == one.json().keys() == SHOWN.keys()
    asked = [r for _, r in system.bus.asked if isinstance(r, resolver.GetSecret | resolver.ListSecrets)]
    assert {r.kind for r in asked} == {"git_token"}


@pytest.mark.parametrize(
    ("method", "tail", "body", "code"),
    [
        ("POST", "", {**CREATE, "sensitive": False}, "invalid_request"),
        ("POST", "", {**CREATE, "name": "a/b"}, "invalid_name"),
        ("POST", "", {**CREATE, "name": "ghp_0123456789abcdef0123456789"}, "name_looks_like_secret"),
        ("POST", "", {**CREATE, "value": ""}, "invalid_value"),
        ("POST", "", {**CREATE, "value": "********"}, "redacted_value"),
        ("PATCH", "/A", {"value": VALUE}, "invalid_request"),
        ("PATCH", "/A", {"sensitive": True}, "invalid_request"),
        ("PATCH", "/A", {}, "invalid_request"),
    ],
)
async def test_bad_input_is_refused_without_an_echo(
    system: System, method: str, tail: str, body: Any, code: str
) -> None:
    answer = await system.ask(method, PATH + tail, body)

    assert (answer.status, answer.json()["code"]) == (422, code)
    assert VALUE.encode() not in answer.body
    assert system.bus.asked == []


@pytest.mark.parametrize(
    ("role", "reads", "writes"), [("auditor", 200, 403), ("machine", 403, 403), ("gateway", 403, 403)]
)
async def test_who_may(system: System, role: str, reads: int, writes: int) -> None:
    token = token_for(role)
    assert (await system.ask("GET", f"{PATH}/A", token=token)).status == reads
    assert (await system.ask("DELETE", f"{PATH}/A", token=token)).status == writes


async def test_it_is_on_no_way_out_for_machines(system: System) -> None:
    body = {"references": ["git_token/CONFIG_REPO"]}
    answer = await system.ask("POST", "/v1/machine/resolve", body)
    assert (answer.status, answer.json()["code"]) == (422, "invalid_name")
    single = await system.ask("GET", "/v1/machine/config-variables/git_token%2FCONFIG_REPO")
    assert single.status in (404, 422)
    assert system.bus.asked == []


async def test_an_outcome_that_was_carried_out_before_says_so(system: System) -> None:
    system.bus.on(command.GIT_TOKEN, lambda request: outcome(request, replayed=True))
    answer = await system.ask("POST", PATH, CREATE, headers={"Idempotency-Key": "k1"})
    assert answer.headers["idempotency-replayed"] == "true"

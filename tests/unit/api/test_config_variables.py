"""/v1/config-variables as the product page calls it."""

from __future__ import annotations

from typing import Any

import pytest

from libs.common.errors import KtError
from libs.common.messaging.rpc import Unanswered
from libs.common.protocol import command, keys, resolver
from tests.unit.api.system import TRANSPORT, System, boxed_reply, outcome, token_for, view

VALUE = "sk-proj-the-value-itself-0123456789"
CREATE = {
    "name": "OPENAI_API_KEY",
    "value": VALUE,
    "description": "OpenAI production API key",
    "sensitive": True,
}


async def test_a_variable_is_created_and_its_value_not_shown(system: System) -> None:
    answer = await system.ask("POST", "/v1/config-variables", CREATE)

    assert answer.status == 201
    assert answer.headers["location"] == "/v1/config-variables/OPENAI_API_KEY"
    assert answer.headers["etag"] == '"42"'
    assert answer.json() == {
        "name": "OPENAI_API_KEY",
        "value": "********",
        "description": "OpenAI production API key",
        "sensitive": True,
        "version": 1,
        "sequence": 42,
        "created_at": "2026-11-23T07:39:03.192164Z",
        "updated_at": "2026-11-23T07:39:03.192164Z",
        "legacy": False,
    }


async def test_the_value_goes_on_the_bus_in_a_box_for_the_key_service_bound_to_its_name(system: System) -> None:
    await system.ask("POST", "/v1/config-variables", CREATE)

    (sent,) = system.bus.requests(command.CONFIG_VARIABLE)
    assert sent.value is not None
    opened = TRANSPORT.open(sent.value.box, keys.seal_context("default", "config_variable", "OPENAI_API_KEY"))
    assert opened.reveal() == VALUE.encode()
    assert VALUE not in repr(system.bus.asked)


async def test_a_variable_is_sensitive_unless_said_otherwise(system: System) -> None:
    await system.ask("POST", "/v1/config-variables", {"name": "A", "value": "v"})

    (sent,) = system.bus.requests(command.CONFIG_VARIABLE)
    assert sent.sensitive is True


async def test_who_asked_and_from_where_travels_with_the_command(system: System) -> None:
    headers = {"X-Request-Id": "req-1", "User-Agent": "curl/8.5.0"}
    await system.ask("DELETE", "/v1/config-variables/A", token=token_for("operator"), headers=headers)

    (sent,) = system.bus.requests(command.CONFIG_VARIABLE)
    caller = sent.caller
    assert (caller.org, caller.actor_type, caller.actor_id) == ("default", "operator", "operator-1")
    assert (caller.request_id, caller.source_ip, caller.user_agent) == ("req-1", "192.0.2.7", "curl/8.5.0")


@pytest.mark.parametrize("agent", ["sk-proj-0123456789abcdef0123", "caf\xe9", "tab\there"])
async def test_a_user_agent_that_may_hide_something_is_left_out(system: System, agent: str) -> None:
    await system.ask("DELETE", "/v1/config-variables/A", headers={"User-Agent": agent})

    assert system.bus.requests(command.CONFIG_VARIABLE)[0].caller.user_agent == ""


async def test_a_sensitive_value_is_never_shown(system: System) -> None:
    answer = await system.ask("GET", "/v1/config-variables/OPENAI_API_KEY")

    assert answer.json()["value"] == "********"
    assert not system.bus.requests(resolver.REVEAL)


async def test_a_value_that_is_not_sensitive_is_shown_on_its_own(system: System) -> None:
    system.bus.on(resolver.GET, lambda r: view(r.name, sensitive=False))
    system.bus.on(
        resolver.REVEAL, lambda r: boxed_reply("default", "admin/admin-1", r.recipient_key, {r.name: "https://a"})
    )

    answer = await system.ask("GET", "/v1/config-variables/BASE_URL")

    assert answer.json()["value"] == "https://a"
    assert answer.headers["cache-control"] == "no-store"


async def test_a_value_that_can_t_be_opened_is_an_error_and_not_null(system: System) -> None:
    system.bus.on(resolver.GET, lambda r: view(r.name, sensitive=False))
    failed = resolver.Resolution(reference="BASE_URL", status="failed", reason="undecryptable")
    system.bus.on(resolver.REVEAL, lambda _: resolver.ResolveReply(results=[failed], box=None))

    answer = await system.ask("GET", "/v1/config-variables/BASE_URL")

    assert (answer.status, answer.code) == (500, "undecryptable")


async def test_rotating_sends_a_new_value(system: System) -> None:
    system.bus.on(command.CONFIG_VARIABLE, lambda r: outcome(r, version=2, sequence=43))

    answer = await system.ask("POST", "/v1/config-variables/OPENAI_API_KEY/rotate", {"value": VALUE})

    (sent,) = system.bus.requests(command.CONFIG_VARIABLE)
    assert (sent.command, sent.name) == ("rotate", "OPENAI_API_KEY")
    assert sent.value is not None
    assert (answer.status, answer.json()["version"], answer.headers["etag"]) == (200, 2, '"43"')


async def test_rolling_back_names_the_version(system: System) -> None:
    await system.ask("POST", "/v1/config-variables/A/rollback", {"version": 3})

    (sent,) = system.bus.requests(command.CONFIG_VARIABLE)
    assert (sent.command, sent.to_version, sent.value) == ("roll_back", 3, None)


async def test_deleting_answers_without_a_body(system: System) -> None:
    answer = await system.ask("DELETE", "/v1/config-variables/A")

    assert (answer.status, answer.body) == (204, b"")


async def test_one_version_is_destroyed(system: System) -> None:
    answer = await system.ask("DELETE", "/v1/config-variables/A/versions/3", headers={"If-Match": '"42"'})

    assert (answer.status, answer.body) == (204, b"")
    (sent,) = system.bus.requests(command.CONFIG_VARIABLE)
    assert (sent.command, sent.name, sent.version, sent.expected_sequence) == ("destroy_version", "A", 3, 42)


@pytest.mark.parametrize("version", ["0", "-1", "one", "1.5", "99999999999999999999"])
async def test_a_version_is_a_whole_number_from_1_on(system: System, version: str) -> None:
    answer = await system.ask("DELETE", f"/v1/config-variables/A/versions/{version}")

    assert (answer.status, answer.code) == (422, "invalid_request")
    assert not system.bus.requests(command.CONFIG_VARIABLE)


@pytest.mark.parametrize(
    ("patch", "description", "sensitive"),
    [
        ({"description": "new"}, "new", None),
        ({"description": None}, "", None),
        ({"sensitive": True}, None, True),
        ({"description": "", "sensitive": False}, "", False),
    ],
)
@pytest.mark.parametrize("media_type", ["application/json", "application/merge-patch+json"])
async def test_a_patch_changes_what_it_names(
    system: System, patch: Any, description: str | None, sensitive: bool | None, media_type: str
) -> None:
    answer = await system.ask("PATCH", "/v1/config-variables/A", patch, headers={"Content-Type": media_type})

    (sent,) = system.bus.requests(command.CONFIG_VARIABLE)
    assert (answer.status, sent.command) == (200, "update")
    assert (sent.description, sent.sensitive, sent.value) == (description, sensitive, None)


@pytest.mark.parametrize(
    ("patch", "code"),
    [
        ({"value": "********"}, "redacted_value"),
        ({"value": "••••"}, "redacted_value"),
        ({"value": "[REDACTED]", "description": "x"}, "redacted_value"),
        ({"name": "A", "value": "********", "version": 1}, "redacted_value"),
        ({"value": "a-new-value"}, "invalid_request"),
        ({"value": None}, "invalid_request"),
        ({"value": 5}, "invalid_request"),
        ({}, "invalid_request"),
        ({"sensitive": None}, "invalid_request"),
        ({"version": 2}, "invalid_request"),
    ],
)
async def test_a_patch_never_touches_the_value(system: System, patch: Any, code: str) -> None:
    answer = await system.ask("PATCH", "/v1/config-variables/A", patch)

    assert (answer.status, answer.code) == (422, code)
    assert not system.bus.requests(command.CONFIG_VARIABLE)


async def test_a_list_never_holds_a_value(system: System) -> None:
    items = [view("A"), view("B", sensitive=False)]
    system.bus.on(resolver.LIST, lambda _: resolver.SecretList(items=items, more=False))

    answer = await system.ask("GET", "/v1/config-variables")

    document = answer.json()
    assert [(i["name"], i["value"]) for i in document["items"]] == [("A", "********"), ("B", None)]
    assert document["next_cursor"] is None


async def test_pages_follow_each_other(system: System) -> None:
    system.bus.on(
        resolver.LIST,
        lambda r: resolver.SecretList(
            items=[view("OPENAI_B" if r.after else "OPENAI_A")], more=not r.after, after="OPENAI_A"
        ),
    )
    first = (await system.ask("GET", "/v1/config-variables?prefix=OPENAI&limit=1")).json()
    second = (
        await system.ask("GET", f"/v1/config-variables?prefix=OPENAI&limit=1&cursor={first['next_cursor']}")
    ).json()

    asked = system.bus.requests(resolver.LIST)
    assert [(r.prefix, r.after, r.limit) for r in asked] == [("OPENAI", "", 1), ("OPENAI", "OPENAI_A", 1)]
    assert (second["items"][0]["name"], second["next_cursor"]) == ("OPENAI_B", None)


async def test_a_cursor_of_another_list_is_refused(system: System) -> None:
    system.bus.on(resolver.LIST, lambda _: resolver.SecretList(items=[view("OPENAI_A")], more=True, after="OPENAI_A"))
    cursor = (await system.ask("GET", "/v1/config-variables?prefix=OPENAI")).json()["next_cursor"]

    legacy = f"?prefix=OPENAI&legacy=true&cursor={cursor}"
    for target in (f"?cursor={cursor}", legacy, f"?prefix=OPENAI&cursor=B{cursor[1:]}", "?cursor=%21", "?cursor=AA"):
        answer = await system.ask("GET", f"/v1/config-variables{target}")
        assert (answer.status, answer.code) == (422, "invalid_cursor")


async def test_an_older_row_has_no_etag_no_times_and_no_version(system: System) -> None:
    row = {"version": 0, "sequence": 0, "created_at": "", "updated_at": "", "legacy": True}
    system.bus.on(resolver.GET, lambda r: view(r.name, **row))

    answer = await system.ask("GET", "/v1/config-variables/OLD", headers={"If-None-Match": '"0"'})

    assert (answer.status, "etag" in answer.headers) == (200, False)
    assert answer.json()["legacy"] is True
    assert [answer.json()[k] for k in ("value", "version", "created_at", "updated_at")] == ["********", 0, None, None]


async def test_older_rows_can_be_listed_alone_and_taken_over(system: System) -> None:
    system.bus.on(resolver.LIST, lambda _: resolver.SecretList(items=[], more=False))
    assert (await system.ask("GET", "/v1/config-variables?legacy=true")).status == 200
    assert (await system.ask("GET", "/v1/config-variables")).status == 200
    assert [r.legacy for r in system.bus.requests(resolver.LIST)] == [True, False]

    answer = await system.ask("POST", "/v1/config-variables/OLD/take-over", headers={"Idempotency-Key": "k"})

    assert (answer.status, answer.headers["etag"], answer.json()["legacy"]) == (200, '"42"', False)
    assert [(r.command, r.name) for r in system.bus.requests(command.CONFIG_VARIABLE)] == [("take_over", "OLD")]


async def test_what_is_left_of_the_older_rows_is_told_without_values(system: System) -> None:
    unusable = [keys.UnusableLegacyRow(name="a/b", problem="The name contains a slash at character 2.")]
    left = keys.LegacyStatusReply(configured=True, table="old", usable_rows=2, unusable_rows=1, unusable=unusable)
    system.bus.on(keys.LEGACY_STATUS, lambda _: left)

    answer = await system.ask("GET", "/v1/legacy-rows", token=token_for("auditor"))

    assert answer.json() == left.model_dump()


@pytest.mark.parametrize("query", ["limit=0", "limit=501", "limit=ten", "limit=", "page=2", "limit=1&limit=2&x=1"])
async def test_a_query_that_is_not_understood_is_refused(system: System, query: str) -> None:
    answer = await system.ask("GET", f"/v1/config-variables?{query}")

    assert (answer.status, answer.code) == (422, "invalid_request")


async def test_the_history_shows_who_did_what(system: System) -> None:
    entry = resolver.HistoryEntry(
        sequence=7,
        event_id="e7",
        type="kt.config_variable.rolled_back.v1",
        time="2026-11-23T07:39:03.192164Z",
        action="roll_back",
        version=3,
        actor_type="admin",
        actor_id="alice",
        from_version=1,
        value_state="kept",
    )
    system.bus.on(resolver.HISTORY, lambda _: resolver.SecretHistory(items=[entry]))

    (item,) = (await system.ask("GET", "/v1/config-variables/A/history")).json()["items"]

    assert (item["action"], item["version"], item["from_version"]) == ("roll_back", 3, 1)
    assert item["value_state"] == "kept"
    assert item["actor"] == {"type": "admin", "id": "alice"}


@pytest.mark.parametrize(
    ("code", "status"),
    [("already_exists", 409), ("not_found", 404), ("conflict", 409), ("precondition_failed", 412)],
)
async def test_what_the_command_service_refuses_is_told(system: System, code: str, status: int) -> None:
    system.bus.fails(command.CONFIG_VARIABLE, KtError(code, "It said no.", "Do this."))

    answer = await system.ask("POST", "/v1/config-variables", CREATE)

    assert (answer.status, answer.code) == (status, code)
    assert (answer.json()["detail"], answer.json()["hint"]) == ("It said no.", "Do this.")


async def test_a_change_that_is_not_answered_has_an_unknown_outcome(system: System) -> None:
    system.bus.fails(command.CONFIG_VARIABLE, Unanswered("unavailable", "No answer."))

    answer = await system.ask("POST", "/v1/config-variables", CREATE)

    assert (answer.status, answer.code) == (503, "outcome_unknown")
    assert "Idempotency-Key" in answer.json()["hint"]
    assert answer.headers["retry-after"] == "1"


async def test_a_change_that_reached_nobody_is_merely_unavailable(system: System) -> None:
    del system.bus.answers[command.CONFIG_VARIABLE.subject]

    answer = await system.ask("POST", "/v1/config-variables", CREATE)

    assert (answer.status, answer.code) == (503, "unavailable")

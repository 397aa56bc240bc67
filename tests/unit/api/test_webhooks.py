"""/v1/webhooks: a secret that is shown once, and addresses that are looked at before anything is stored."""

from __future__ import annotations

from typing import Any

import pytest

from libs.common.errors import KtError
from libs.common.protocol import command, keys, webhooks
from tests.unit.api.system import TRANSPORT, System, token_for

PATH = "/v1/webhooks"
URL = "https://receiver.example.com/keeptrusts"
GIVEN = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
CREATE = {"url": URL, "event_types": ["kt.config_variable.*"], "description": "On call"}
DELIVERY = webhooks.DeliveryView(
    id="d1",
    event_id="e1",
    event_type="kt.config_variable.rotated.v1",
    status="failed",
    attempts=10,
    answered=500,
    reason="rejected",
    created_at="2026-11-23T07:39:03.192164Z",
    next_attempt_at="",
    finished_at="2026-11-26T11:14:08.192164Z",
)


def outcome(request: command.WebhookCommand, **changes: Any) -> command.WebhookOutcome:
    known: dict[str, Any] = {
        "id": request.webhook,
        "url": request.url or URL,
        "event_types": request.event_types or ("*",),
        "description": request.description or "",
        "enabled": request.enabled is not False,
        "disabled_reason": "",
        "overlap_until": "",
        "sequence": 42,
        "created_at": "2026-11-23T07:39:03.192164Z",
        "updated_at": "2026-11-23T07:39:03.192164Z",
        "replayed": False,
    }
    return command.WebhookOutcome(**{**known, **changes})


def view(**changes: Any) -> webhooks.WebhookView:
    known: dict[str, Any] = {
        "id": "w1",
        "url": URL,
        "event_types": ("*",),
        "description": "",
        "enabled": False,
        "disabled_reason": "gone",
        "overlap_until": "2026-11-24T07:39:03.192164Z",
        "sequence": 7,
        "created_at": "2026-11-23T07:39:03.192164Z",
        "updated_at": "2026-11-23T07:39:03.192164Z",
    }
    return webhooks.WebhookView(**{**known, **changes})


@pytest.fixture(autouse=True)
def answering(system: System) -> None:
    system.bus.on(command.WEBHOOK, outcome)
    system.bus.on(webhooks.ADMIT, lambda _: webhooks.Admitted())
    system.bus.on(webhooks.GET, lambda _: view())
    system.bus.on(webhooks.LIST, lambda _: webhooks.WebhookList(items=[view()], next_after=7))
    system.bus.on(webhooks.DELIVERIES, lambda _: webhooks.DeliveryList(items=[DELIVERY], next_before=3))
    system.bus.on(webhooks.REDELIVER, lambda _: DELIVERY)
    system.bus.on(webhooks.TEST, lambda _: DELIVERY)


def opened(sent: command.WebhookCommand) -> bytes:
    assert sent.secret is not None
    context = keys.seal_context("default", "webhook_secret", sent.webhook)
    return TRANSPORT.open(sent.secret.box, context).reveal()


async def test_a_secret_is_made_boxed_for_its_webhook_and_shown_in_this_answer_alone(system: System) -> None:
    answer = await system.ask("POST", PATH, CREATE)

    shown = answer.json()
    (sent,) = system.bus.requests(command.WEBHOOK)
    assert (answer.status, shown["secret"].encode()) == (201, opened(sent))
    assert shown["secret"].startswith("whsec_")
    assert sent.made
    assert answer.headers["location"] == f"{PATH}/{sent.webhook}"
    assert answer.headers["etag"] == '"42"'
    assert "no-store" in answer.headers["cache-control"]


async def test_a_secret_that_was_given_is_in_no_answer(system: System) -> None:
    answer = await system.ask("POST", PATH, {**CREATE, "secret": GIVEN})

    (sent,) = system.bus.requests(command.WEBHOOK)
    assert (answer.status, answer.json()["secret"]) == (201, None)
    assert opened(sent) == GIVEN.encode()
    assert not sent.made


async def test_a_request_that_was_carried_out_before_shows_no_secret(system: System) -> None:
    system.bus.on(command.WEBHOOK, lambda request: outcome(request, replayed=True))
    answers = [await system.ask("POST", PATH, CREATE, headers={"Idempotency-Key": "k"}) for _ in range(2)]

    first, second = system.bus.requests(command.WEBHOOK)
    assert [answer.json()["secret"] for answer in answers] == [None, None]
    assert answers[0].headers["idempotency-replayed"] == "true"
    assert (first.webhook, first.command_id) == (second.webhook, second.command_id)


async def test_an_address_that_is_not_admitted_is_not_stored(system: System) -> None:
    system.bus.fails(webhooks.ADMIT, *[KtError("invalid_request", "It leads nowhere.")] * 2)
    created = await system.ask("POST", PATH, CREATE)
    moved = await system.ask("PATCH", f"{PATH}/w1", {"url": "https://10.0.0.1/"})
    assert [answer.status for answer in (created, moved)] == [422, 422]
    assert not system.bus.requests(command.WEBHOOK)


@pytest.mark.parametrize(
    "url",
    [
        "https://receiver.example.com/?token=canary-0123",
        "https://canary-0123:pw@receiver.example.com/",
        "https://receiver.example.com/sk-proj-canary-0123abcdef0123456789",
    ],
)
async def test_a_credential_in_a_url_goes_no_further(system: System, url: str) -> None:
    for method, target in (("POST", PATH), ("PATCH", f"{PATH}/w1")):
        answer = await system.ask(method, target, {**CREATE, "url": url})
        assert (answer.status, answer.json()["code"]) == (422, "invalid_request")
        assert answer.json()["errors"][0]["field"] == "url"
        assert b"canary" not in answer.body
    assert system.bus.asked == []


@pytest.mark.parametrize(
    ("method", "tail", "body", "expected"),
    [
        ("PATCH", "", {"enabled": False}, {"command": "update", "enabled": False, "url": None, "description": None}),
        ("PATCH", "", {"description": None}, {"command": "update", "description": ""}),
        ("POST", "/rotate-secret", {"overlap": "0s"}, {"command": "rotate_secret", "overlap_s": 0}),
        ("POST", "/rotate-secret", {"secret": GIVEN}, {"command": "rotate_secret", "overlap_s": None}),
        ("DELETE", "", None, {"command": "delete", "secret": None}),
    ],
)
async def test_a_change_is_one_command_with_its_conditions(
    system: System, method: str, tail: str, body: Any, expected: dict[str, Any]
) -> None:
    headers = {"Idempotency-Key": "k1", "If-Match": '"41"'}
    answers = [await system.ask(method, f"{PATH}/w1{tail}", body, headers=headers) for _ in range(2)]

    first, second = system.bus.requests(command.WEBHOOK)
    assert {answer.status for answer in answers} == {204 if method == "DELETE" else 200}
    assert first.command_id == second.command_id
    assert (first.webhook, first.expected_sequence) == ("w1", 41)
    assert first.model_dump().items() >= expected.items()


@pytest.mark.parametrize(
    ("method", "tail", "body", "code"),
    [
        ("POST", "", {**CREATE, "event_types": []}, "invalid_request"),
        ("POST", "", {**CREATE, "event_types": ["*", "*"]}, "invalid_request"),
        ("POST", "", {**CREATE, "event_types": ["kt.config_variable.rotatd.v1"]}, "invalid_request"),
        ("POST", "", {**CREATE, "event_types": ["kt.webhook.delivered.v1"]}, "invalid_request"),
        ("POST", "", {**CREATE, "event_types": ["*"] * 51}, "invalid_request"),
        ("POST", "", {**CREATE, "url": ""}, "invalid_request"),
        ("POST", "", {**CREATE, "url": "https://a.example/" + "a/" * 1024}, "invalid_request"),
        ("POST", "", {**CREATE, "secret": GIVEN.removeprefix("whsec_")}, "invalid_value"),
        ("POST", "", {**CREATE, "secret": f" {GIVEN}"}, "invalid_value"),
        ("POST", "", {**CREATE, "secret": f"'{GIVEN}'"}, "invalid_value"),
        ("POST", "", {**CREATE, "secret": "whsec_c2hvcnQ="}, "invalid_value"),
        ("POST", "", {**CREATE, "secret": "whsec_" + "A" * 44}, "invalid_value"),
        ("POST", "", {**CREATE, "secret": 5}, "invalid_request"),
        ("PATCH", "/w1", {"secret": GIVEN}, "invalid_request"),
        ("PATCH", "/w1", {"url": None}, "invalid_request"),
        ("PATCH", "/w1", {}, "invalid_request"),
        ("POST", "/w1/rotate-secret", {"overlap": "8d"}, "invalid_request"),
        ("POST", "/w1/rotate-secret", {"overlap": "-1s"}, "invalid_request"),
    ],
)
async def test_bad_input_is_refused_without_an_echo(
    system: System, method: str, tail: str, body: Any, code: str
) -> None:
    system.bus.fails(command.WEBHOOK, KtError("invalid_request", "The overlap is out of range."))
    answer = await system.ask(method, PATH + tail, body)

    assert (answer.status, answer.json()["code"]) == (422, code)
    assert GIVEN.removeprefix("whsec_").encode() not in answer.body


async def test_lists_have_cursors_that_belong_to_them(system: System) -> None:
    listed = (await system.ask("GET", f"{PATH}?limit=1")).json()
    failed = (await system.ask("GET", f"{PATH}/w1/deliveries?status=failed")).json()
    assert (listed["items"][0]["disabled_reason"], failed["items"][0]["answered"]) == ("gone", 500)
    assert "secret" not in listed["items"][0]

    assert (await system.ask("GET", f"{PATH}?cursor={listed['next_cursor']}")).status == 200
    cursor = failed["next_cursor"]
    more = [
        (await system.ask("GET", f"{PATH}/{tail}cursor={cursor}")).status
        for tail in ("w1/deliveries?status=failed&", "w1/deliveries?", "w2/deliveries?status=failed&")
    ]
    assert more == [200, 422, 422]
    assert [r.after for r in system.bus.requests(webhooks.LIST)] == [0, 7]
    assert [r.before for r in system.bus.requests(webhooks.DELIVERIES)] == [0, 3]


async def test_one_more_delivery_is_asked_of_the_webhooks_service(system: System) -> None:
    again = await system.ask("POST", f"{PATH}/w1/deliveries/d1/redeliver")
    tests = [await system.ask("POST", f"{PATH}/w1/test", headers={"Idempotency-Key": "k"}) for _ in range(2)]
    assert [answer.status for answer in (again, *tests)] == [202, 202, 202]
    (redelivered,) = system.bus.requests(webhooks.REDELIVER)
    assert (redelivered.webhook, redelivered.delivery, redelivered.caller.actor_id) == ("w1", "d1", "admin-1")
    assert len({request.request_key for request in system.bus.requests(webhooks.TEST)}) == 1


async def test_reading_gives_an_etag_that_can_be_asked_with(system: System) -> None:
    one = await system.ask("GET", f"{PATH}/w1")
    unchanged = await system.ask("GET", f"{PATH}/w1", headers={"If-None-Match": one.headers["etag"]})
    assert (one.status, one.headers["etag"], unchanged.status) == (200, '"7"', 304)


@pytest.mark.parametrize(
    ("role", "reads", "writes"),
    [("operator", 200, 204), ("auditor", 200, 403), ("machine", 403, 403), ("gateway", 403, 403)],
)
async def test_who_may(system: System, role: str, reads: int, writes: int) -> None:
    token = token_for(role)
    assert (await system.ask("GET", f"{PATH}/w1", token=token)).status == reads
    assert (await system.ask("DELETE", f"{PATH}/w1", token=token)).status == writes

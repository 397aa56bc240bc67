"""Addresses are told of events: signed, again after a crash, on record; and never one of a private network."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from demo.stage import call, eventually
from tests.e2e.conftest import System, running
from tests.e2e.receiver import Delivery, Receiver

WEBHOOKS = "/v1/webhooks"
CREATED = "kt.config_variable.created.v1"
WITHIN_S = 60.0


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    yield from running(
        tmp_path_factory.mktemp("webhooks"),
        KEEPTRUSTS_WEBHOOK_ALLOWED_NETWORKS="127.0.0.1/32",
        KEEPTRUSTS_WEBHOOK_TIMEOUT_SECONDS="2",
    )


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.close()


def subscribed(system: System, receiver: Receiver, *event_types: str) -> dict[str, Any]:
    body = {"url": receiver.url, "event_types": list(event_types or (CREATED,))}
    answer = system.http("POST", WEBHOOKS, body)
    assert answer.status == 201, answer.body
    created: dict[str, Any] = answer.body
    return created


def items(system: System, path: str, *, at_least: int = 0) -> list[Any]:
    """The items of a list, as soon as there are so many."""
    found: list[Any] = []

    def enough() -> bool:
        answer = system.http("GET", path)
        found[:] = answer.body["items"] if answer.status == 200 else []
        return answer.status == 200 and len(found) >= at_least

    eventually(enough, f"GET {path} has {at_least} items", WITHIN_S)
    return found


def outcomes(system: System, webhook: str, count: int) -> list[Any]:
    """How deliveries ended by the audit log, as soon as there are so many; oldest first."""
    path = f"/v1/events?limit=500&filter=resource%3D{webhook}%20AND%20action%3Ddeliver"
    return [item["data"] for item in items(system, path, at_least=count)][::-1]


def created_id(system: System, name: str) -> str:
    """The id of the event that a variable was created by."""
    (event,) = items(system, f"/v1/events?filter=resource%3D{name}%20AND%20action%3Dcreate", at_least=1)
    return str(event["id"])


def arrives(system: System, receiver: Receiver, name: str) -> Delivery:
    """Create a variable, and wait until the receiver is told of it."""
    assert system.create(name, "v").status == 201
    subject = f"config_variable/{name}"
    eventually(lambda: receiver.first(CREATED, subject) is not None, f"it is told of {name}", WITHIN_S)
    delivery = receiver.first(CREATED, subject)
    assert delivery is not None
    return delivery


def process(system: System, name: str) -> int:
    document = json.loads(system.kt("status", "--output", "json"))
    return next(int(p["pid"]) for p in document["processes"] if p["name"] == name)


def sealed_secrets(keys_dsn: str, webhook: str) -> int:
    """How many of a webhook's secrets the sealed store holds."""
    with psycopg.connect(keys_dsn) as connection:
        found = connection.execute("SELECT count(*) FROM keys.sealed_values WHERE name = %s", (webhook,)).fetchone()
    assert found is not None
    return int(found[0])


def test_deliveries_are_signed_and_by_two_secrets_while_one_is_replaced(system: System, receiver: Receiver) -> None:
    environment = Path(f"/proc/{process(system, 'keys')}/environ").read_text().split("\0")
    keys_dsn = dict(line.partition("=")[::2] for line in environment)["KEEPTRUSTS_POSTGRES_DSN"]
    created = subscribed(system, receiver)
    path, secrets = f"{WEBHOOKS}/{created['id']}", [created["secret"]]
    assert set(system.http("GET", path).body) == set(created) - {"secret"}

    first = arrives(system, receiver, "SIGNED_1")
    assert [first.is_signed_with(secret) for secret in secrets] == [True]
    assert not first.is_signed_with("whsec_" + "A" * 32)
    (recorded,) = items(system, "/v1/events?filter=resource%3DSIGNED_1", at_least=1)
    assert first.event == {name: value for name, value in recorded.items() if name in first.event}
    assert (first.id, first.event["subject"]) == (recorded["id"], "config_variable/SIGNED_1")

    secrets.append(system.http("POST", f"{path}/rotate-secret", {}).body["secret"])
    second = arrives(system, receiver, "SIGNED_2")
    assert [second.is_signed_with(secret) for secret in secrets] == [True, True]
    assert sealed_secrets(keys_dsn, created["id"]) == 2

    secrets.append(system.http("POST", f"{path}/rotate-secret", {"overlap": "0s"}).body["secret"])
    third = arrives(system, receiver, "SIGNED_3")
    assert [third.is_signed_with(secret) for secret in secrets] == [False, False, True]
    eventually(lambda: sealed_secrets(keys_dsn, created["id"]) == 1, "old secrets are destroyed", WITHIN_S)

    ended = outcomes(system, created["id"], 3)
    assert sorted(o["detail"]["event_id"] for o in ended) == sorted([first.id, second.id, third.id])
    assert {o["outcome"]["result"] for o in ended} == {"success"}
    assert system.http("DELETE", path).status == 204
    eventually(lambda: sealed_secrets(keys_dsn, created["id"]) == 0, "its secrets are destroyed", WITHIN_S)


def test_what_was_refused_or_cut_off_by_a_crash_arrives_with_the_id_it_had(
    system: System, receiver: Receiver
) -> None:
    """kill -9 in the middle of a delivery, with another one waiting for its retry and more to come."""
    accepted, free = set[str](), threading.Event()

    def answer(delivery: Delivery) -> int:
        if receiver.ids().count(delivery.id) == 1 and delivery.event["subject"].endswith("/REFUSED"):
            return 500
        if receiver.ids().count(delivery.id) == 1 and delivery.event["subject"].endswith("/CUT_OFF"):
            free.wait(WITHIN_S)
            return 500
        accepted.add(delivery.id)
        return 204

    receiver.answer = answer
    webhook, victim = subscribed(system, receiver)["id"], process(system, "webhooks")
    try:
        for name in ("REFUSED", "CUT_OFF"):
            arrives(system, receiver, name)
        os.kill(victim, signal.SIGKILL)
        names = ["REFUSED", "CUT_OFF", *(f"MEANWHILE_{number}" for number in range(10))]
        assert [system.create(name, "v").status for name in names[2:]] == [201] * 10
        eventually(lambda: len(accepted) == len(names), "everything arrives", WITHIN_S)
        recorded = outcomes(system, webhook, len(names))
    finally:
        free.set()

    assert process(system, "webhooks") != victim
    created = [created_id(system, name) for name in names]
    assert accepted == set(created)
    assert [receiver.ids().count(event_id) >= 2 for event_id in created[:2]] == [True, True]
    assert sorted(o["detail"]["event_id"] for o in recorded) == sorted(created), "each on record once"
    ended = items(system, f"{WEBHOOKS}/{webhook}/deliveries?limit=500")
    assert {d["status"] for d in ended} == {"delivered"}
    assert [{d["event_id"]: d["attempts"] for d in ended}[event_id] >= 2 for event_id in created[:2]] == [True, True]
    assert system.http("DELETE", f"{WEBHOOKS}/{webhook}").status == 204


def test_a_receiver_that_is_gone_is_left_alone_until_somebody_wants_it_again(
    system: System, receiver: Receiver
) -> None:
    receiver.answer = lambda _: 410
    webhook = subscribed(system, receiver)["id"]
    assert system.create("GONE", "v").status == 201
    state = f"{WEBHOOKS}/{webhook}"
    eventually(
        lambda: (system.http("GET", state).body.get("enabled", True)) is False, "the webhook is disabled", WITHIN_S
    )
    assert system.http("GET", state).body["disabled_reason"] == "gone"
    assert system.http("POST", f"{state}/test").body["code"] == "conflict"
    outcomes(system, webhook, 1)

    receiver.answer = lambda _: 204
    system.kt("webhooks", "update", webhook, "--enable")
    system.kt("webhooks", "redeliver", webhook, "--failed")
    ended = [(o["outcome"]["result"], o["detail"]["status"]) for o in outcomes(system, webhook, 2)]
    assert ended == [("failure", 410), ("success", 204)]
    assert len(set(receiver.ids(CREATED))) == 1
    (asked,) = items(system, f"/v1/events?filter=resource%3D{webhook}%20AND%20action%3Dredeliver", at_least=1)
    assert asked["data"]["actor"]["id"] == "admin"

    for _ in range(2):
        system.kt("webhooks", "test", webhook, "--idempotency-key", "once")
    assert len(outcomes(system, webhook, 3)) == 3
    assert len(set(receiver.ids("kt.webhook.tested.v1"))) == 1
    assert system.http("DELETE", state).status == 204


@pytest.mark.parametrize(
    "url",
    [
        "https://10.0.0.1/",
        "https://127.0.0.2/",
        "https://127.1/",
        "https://[::1]/",
        "https://[::ffff:127.0.0.1]/",
        "https://169.254.169.254/latest/meta-data/",
    ],
)
def test_no_webhook_leads_into_a_private_network_that_was_not_allowed(system: System, url: str) -> None:
    before = system.http("GET", WEBHOOKS).body
    answer = system.http("POST", WEBHOOKS, {"url": url, "event_types": ["*"]})
    assert (answer.status, answer.body["code"]) == (422, "invalid_request")
    assert url not in json.dumps(answer.body)
    assert system.http("GET", WEBHOOKS).body == before


def test_only_those_who_may_change_webhooks_can(system: System) -> None:
    body = {"url": "https://receiver.example.com/", "event_types": ["*"]}
    token = system.kt("token", "issue", "--role", "auditor", "--name", "looks", "--ttl", "1h").strip()
    assert call("POST", f"{system.api}{WEBHOOKS}", token, body).status == 403
    assert call("GET", f"{system.api}{WEBHOOKS}", token).status == 200

"""kill -9 of anything in the middle of a burst of writes: what was acknowledged is there, and on record once."""

from __future__ import annotations

import json
import os
import signal
import threading
import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import pytest

from demo.stage import call, eventually
from tests.e2e.conftest import System

WRITERS = 4
BEFORE, AFTER = 15, 30


@dataclass
class Burst:
    """Creates variables from several threads until told to stop. An unclear answer is repeated with its key."""

    system: System
    name: str = "burst"
    acknowledged: list[str] = field(default_factory=list)
    refused: Counter[int] = field(default_factory=Counter)
    stop: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        while not self.stop.is_set():
            name = f"{self.name}.{uuid.uuid4().hex[:12]}"
            body = {"name": name, "value": "burst-value", "sensitive": True}
            while not self.stop.is_set():
                try:
                    answer = call(
                        "POST",
                        f"{self.system.api}/v1/config-variables",
                        self.system.token,
                        body,
                        {"Idempotency-Key": name},
                    )
                except OSError:
                    self.refused[0] += 1
                    self.stop.wait(0.05)
                    continue
                if answer.status == 201:
                    self.acknowledged.append(name)
                    break
                self.refused[answer.status] += 1
                self.stop.wait(0.05)


def pids(system: System) -> dict[str, int]:
    document = json.loads(system.kt("status", "--output", "json"))
    return {process["name"]: process["pid"] for process in document["processes"] if process["pid"]}


def pages(system: System, path: str) -> Iterator[dict[str, Any]]:
    """Every item of a list."""
    cursor = ""
    while True:
        page = system.http("GET", f"{path}&limit=500{cursor}").body
        yield from page["items"]
        if page["next_cursor"] is None:
            return
        cursor = f"&cursor={quote(page['next_cursor'])}"


def created(system: System, burst: str) -> Counter[str]:
    """How often the creation of each variable is on record."""
    events = pages(system, f"/v1/events?filter=resource%3D{burst}.*%20AND%20action%3Dcreate")
    return Counter(event["data"]["resource"]["id"] for event in events)


def serves_again(system: System, victim: str, killed: int, name: str) -> bool:
    """A new process is there, and the system answers; readiness alone may have been seen before the death."""
    try:
        return (
            pids(system).get(victim, killed) != killed
            and system.http("GET", "/readyz").status == 200
            and system.http("GET", f"/v1/config-variables/{name}").status == 200
            and system.http("GET", "/v1/events?limit=1").status == 200
        )
    except OSError:
        return False


@pytest.mark.parametrize("victim", ["api", "command", "keys", "resolver", "audit", "nats", "postgres"])
def test_acknowledged_writes_survive_the_death_of(victim: str, system: System) -> None:
    burst = Burst(system, f"burst.{victim}")
    threads = [threading.Thread(target=burst.run) for _ in range(WRITERS)]
    for thread in threads:
        thread.start()
    try:
        eventually(lambda: len(burst.acknowledged) >= BEFORE, "writes flow", 30)
        old = pids(system)[victim]
        os.kill(old, signal.SIGKILL)
        target = len(burst.acknowledged) + AFTER
        eventually(lambda: len(burst.acknowledged) >= target, f"writes flow again after the death of {victim}", 60)
    finally:
        burst.stop.set()
        for thread in threads:
            thread.join(15)
    eventually(lambda: serves_again(system, victim, old, burst.acknowledged[0]), "the system serves again", 60)
    assert set(burst.refused) <= {0, 503}, "every refusal says that it may be repeated"
    there = {v["name"]: v["version"] for v in pages(system, f"/v1/config-variables?prefix={burst.name}.")}
    assert {name: there.get(name) for name in burst.acknowledged if there.get(name) != 1} == {}
    eventually(lambda: created(system, burst.name).keys() >= set(burst.acknowledged), "all are on record", 60)
    counts = created(system, burst.name)
    assert {name: counts[name] for name in burst.acknowledged if counts[name] != 1} == {}

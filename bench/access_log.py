"""What it costs to put every request on record, and how many requests a second can be."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from bench.chat import Gateway, chat_request, gateway
from bench.record import Bound, Record, Round, alternating
from bench.system import System, progress
from bench.worker import Worker
from demo.stage import call

BOUND = Bound(1.5, "ratio", "at most")
RATE = 2000.0
RATES = (2500.0, 3000.0, 3500.0, 4000.0, 5000.0, 6000.0, 8000.0)
CONNECTIONS = 32
CAUGHT_UP_S = 10.0
_OK = "200"
_REACHED = 0.9
"""Beyond it the machine has no processor left for a faster load."""
_PAGE = 500


@dataclass(slots=True)
class Logged:
    """A gateway that puts every request on record, and what was sent through it."""

    system: System
    proxy: Gateway
    name: str
    sent: int = 0
    slowest_s: float = 0.0

    def offer(self, client: Worker, rate: float, seconds: float) -> Any:
        answer = client.ask(
            "offer",
            **chat_request(self.proxy.url, self.proxy.client_token),
            connections=CONNECTIONS,
            rate=rate,
            seconds=seconds,
        )
        self.sent += sum(answer["statuses"].values())
        return answer

    def status(self) -> dict[str, Any]:
        token = (self.system.home.path / "gateways" / self.name / "control.token").read_text().strip()
        found: dict[str, Any] = call("GET", f"{self.proxy.url}/-/keeptrusts/v1/status", token).body["access_log"]
        return found

    def catch_up(self, within_s: float = CAUGHT_UP_S) -> bool:
        """Wait until the audit log has the last record; False when that takes longer."""
        began = time.monotonic()
        while (took := time.monotonic() - began) < within_s:
            status = self.status()
            if not status["waiting"] and self._newest() == status["recorded"]:
                self.slowest_s = max(self.slowest_s, took)
                return True
            time.sleep(0.05)
        return False

    def _newest(self) -> int:
        items = self.system.ask("GET", f"/v1/events?filter=correlation={self.status()['epoch']}&limit=1")["items"]
        return int(items[0]["data"]["detail"]["sequence"]) if items else 0

    def missing(self) -> int:
        """Requests sent that the audit log does not hold, each number of the epoch looked at."""
        epoch, cursor, seen, served = self.status()["epoch"], "", set(), 0
        while True:
            path = f"/v1/events?filter=correlation={epoch}&limit={_PAGE}&cursor={cursor}"
            page = self.system.ask("GET", path)
            for item in page["items"]:
                seen.add(item["data"]["detail"]["sequence"])
                served += item["type"] == "kt.gateway.request_served.v1"
            cursor = page["next_cursor"]
            if not cursor:
                break
        assert seen == set(range(1, max(seen) + 1))
        return self.sent - served


def highest(logged: Logged, client: Worker, seconds: float) -> float:
    """Requests a second of the fastest load of which every request is on record, and the log caught up in time."""
    found = 0.0
    for rate in RATES:
        before = logged.sent
        logged.offer(client, rate, seconds)
        reached = (logged.sent - before) / seconds
        whole = logged.catch_up() and not logged.status()["unrecorded"]
        progress(f"{rate:,.0f}/s offered, {reached:,.0f}/s reached: {'all' if whole else 'not all'} on record")
        if not whole:
            break
        found = max(found, reached)
        if reached < _REACHED * rate:
            break
    return found


def measure(system: System, rounds: int = 6, seconds: float = 2.0) -> Record:
    with (
        gateway(system, "bench-log-on", watch=False, log=True) as on,
        gateway(system, "bench-log-off", watch=False, log=False) as off,
        Worker("http") as client,
    ):
        logged, failed, late = Logged(system, on, "bench-log-on"), 0, 0
        plain = Logged(system, off, "bench-log-off")

        def offered(to: Logged) -> float:
            nonlocal failed, late
            answer = to.offer(client, RATE, seconds)
            failed += sum(count for status, count in answer["statuses"].items() if status != _OK)
            late += to is logged and not logged.catch_up()
            progress(f"{to.name}: p50 {answer['p50_ms']:.2f} ms, p99 {answer['p99_ms']:.2f} ms, {answer['statuses']}")
            return float(answer["p99_ms"])

        offered(plain), offered(logged)
        measured: list[Round] = alternating(rounds, lambda: offered(logged), lambda: offered(plain))
        fastest = highest(logged, client, seconds)
        missing = logged.missing() - int(logged.status()["unrecorded"])
    flaw = "; ".join(
        text
        for count, text in (
            (failed, f"{failed} requests failed"),
            (missing, f"{missing} requests are neither on record nor counted as lost"),
            (late, f"the log was not caught up {CAUGHT_UP_S:g} s after a load"),
        )
        if count
    )
    remark = (
        f"p99; all {logged.sent - missing:,} requests on record, the log caught up within {logged.slowest_s:.1f} s; "
        f"every request on record up to {fastest:,.0f}/s"
    )
    return Record.of_rounds("access_log", "ms", BOUND, measured, remark=remark, flaw=flaw)
